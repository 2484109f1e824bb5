"""The way of a message, from its Received lines (RFC 5321 section 4.4), with the TLS of each hop.

    Received: from smtp.isp.example (smtp.isp.example [192.0.2.25])
        (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) ...)
        by mx.example.com (Postfix) with ESMTPS id 9D76821C99B; Mon, 23 Nov 2026 19:19:51 +0000

The keyword behind ``with`` says whether TLS was used (RFC 3848, RFC 6531); which, only comments say.
"""

from __future__ import annotations

import re
from itertools import pairwise

from ucrmmail.dataclass import dataclass
from ucrmmail.mailbox.words import split_comments

# Postfix "using TLSv1.3 with cipher X", Google and Microsoft "version=TLS1_3 cipher=X" (Microsoft with a comma),
# Exim "TLS1.3" and "tls X", Haraka and sendmail "version=TLSv1.3 cipher=X".
_VERSION = re.compile(r"\b(?:version=)?TLS[ v]*(1)[._]([0-3])\b", re.IGNORECASE)
_CIPHER = re.compile(r"\bcipher[= ]\s*([A-Za-z0-9_-]+)", re.IGNORECASE)
_EXIM_CIPHER = re.compile(r"\btls ((?:TLS|ECDHE|DHE|AES)[A-Za-z0-9_-]+)")
# RFC 3848, RFC 6531 section 4.3: an S behind SMTP or LMTP is TLS, an A a login.
_PROTOCOL = re.compile(r"(UTF8)?[EL]?SMTP(S?)(A?)|(UTF8)?LMTP(S?)(A?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hop:
    """One server took the message from another: their names, the protocol, and the TLS between them.

    ``tls`` is False when there was none, None when that cannot be told (a delivery on one machine, say). ``version``
    and ``cipher`` are "" when the server does not write them down.
    """

    by: str
    from_: str
    protocol: str
    tls: bool | None
    version: str = ""
    cipher: str = ""

    @property
    def told_tls(self) -> str:
        """The TLS of this hop in words."""
        if self.tls:
            return ", ".join(filter(None, (self.version or "TLS", self.cipher)))
        return "no TLS" if self.tls is False else "not known whether TLS"


def read_hop(received: str) -> Hop:
    """Return the hop that the value of a Received field tells of; what it does not say is ""."""
    plain, comments = split_comments(received)
    words = plain.partition(";")[0].split()
    clauses: dict[str, str] = {}
    for name, value in pairwise(words):
        if name.lower() in {"from", "by", "with"}:
            clauses.setdefault(name.lower(), value)
    told = " ".join((*comments, plain))
    version, cipher = _VERSION.search(told), _CIPHER.search(told) or _EXIM_CIPHER.search(plain)
    protocol = clauses.get("with", "")
    return Hop(
        by=clauses.get("by", ""),
        from_=clauses.get("from", ""),
        protocol=protocol,
        tls=True if version else _says_tls(protocol),
        version=f"TLSv{version[1]}.{version[2]}" if version else "",
        cipher=cipher[1] if cipher and (version or _says_tls(protocol)) else "",
    )


def _says_tls(protocol: str) -> bool | None:
    found = _PROTOCOL.fullmatch(protocol)
    if found is None:
        return None
    if found[2] or found[5]:
        return True
    # LMTP goes between programs of one system, most often on one machine.
    return None if "LMTP" in protocol.upper() else False
