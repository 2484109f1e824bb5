"""Who is who in the documentation: hosts with their addresses, accounts with their secrets, and the DNS."""

from __future__ import annotations

ADDRESSES = {
    "smtp.gmail.com": "192.0.2.10",
    "smtp.office365.com": "192.0.2.20",
    "login.microsoftonline.com": "192.0.2.21",
    "mail.isp.example": "192.0.2.25",
    "mx.example.com": "192.0.2.26",
}

# Of the accounts, as a reader would type them; "client-secret" is that of the application at Microsoft.
PASSWORDS = {
    "you@gmail.com": "abcdefghijklmnop",
    "relay": "correct horse battery staple",
    "billing@isp.example": "correct horse battery staple",
    "client-secret": "canary-client-secret",
}

# The application at Microsoft.
CLIENT = "11112222-3333-4444-5555-666677778888"


def _dkim_key() -> str:
    """Return a public key of 2048 bits as DKIM publishes it; the same in each run."""
    from base64 import b64encode

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    modulus = int.from_bytes(b"\xc3" + bytes((7 * n * n + 13 * n + 5) % 256 for n in range(254)) + b"\x01")
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(der).decode()


def _quoted(text: str) -> str:
    """Return a TXT record's data: strings of at most 255 bytes."""
    return " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))


_SOA = "$TTL 3600\n@ SOA ns.example. admin.isp.example. 1 3600 600 86400 300\n@ NS ns.example.\n"

ZONES = {
    ".": f"""{_SOA}
ns.example. A 127.0.0.1
smtp.gmail.com. A {ADDRESSES["smtp.gmail.com"]}
gmail.com. MX 5 gmail-smtp-in.l.google.com.
gmail-smtp-in.l.google.com. A 192.0.2.11
smtp.office365.com. A {ADDRESSES["smtp.office365.com"]}
login.microsoftonline.com. A {ADDRESSES["login.microsoftonline.com"]}
25.2.0.192.in-addr.arpa. PTR mail.isp.example.
isp.example. NS ns.example.
shop.example. NS ns.example.
example.com. MX 10 mx.example.com.
mx.example.com. A {ADDRESSES["mx.example.com"]}
""",
    "isp.example": f"""{_SOA}
@ MX 10 mail
@ A {ADDRESSES["mail.isp.example"]}
@ TXT "v=spf1 mx -all"
mail A {ADDRESSES["mail.isp.example"]}
s1._domainkey TXT {_quoted(f"v=DKIM1; k=rsa; p={_dkim_key()}")}
_dmarc TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@isp.example"
""",
    # Set up in a hurry: an include that is gone, and no DMARC.
    "shop.example": f"""{_SOA}
@ MX 10 mail.isp.example.
@ TXT "v=spf1 include:_spf.gone.example ~all"
""",
}
