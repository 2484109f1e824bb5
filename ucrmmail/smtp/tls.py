"""TLS with the smarthost: TLS 1.2 at least, chain and host name verified, and failures told in words (RFC 8314)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.trouble import RefusedError, account_trouble

if TYPE_CHECKING:
    import socket

    from ucrmmail.smtp.capabilities import InClear
    from ucrmmail.smtp.certificate import Certificate
    from ucrmmail.smtp.smarthost import Smarthost

# Numbers of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({2, 19, 20, 21, 27})
# What OpenSSL says when the other side's first bytes are no TLS.
_NO_TLS_AT_ALL = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
_TOO_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"})
_MOST_SHOWN = 80
# So begins what is told of each certificate that is not trusted.
_WHOSE = "the certificate of "
_SEE_OPENSSL = "look at it with `openssl s_client`"
# What a server that ends the handshake says of it (RFC 8446 section 6.2), as OpenSSL names it: why, and the remedy.
_OURS_IS_WANTED = "the server wants a certificate from us: set smtp.client_certificate and smtp.client_key"
_OURS_IS_REFUSED = (
    "set smtp.client_certificate to one of an authority that the server trusts, with its chain; or unset it"
)
_REFUSED = ("the server does not accept the certificate in smtp.client_certificate", _OURS_IS_REFUSED)
_ALERTS = {
    "ALERT_CERTIFICATE_REQUIRED": ("", _OURS_IS_WANTED),
    "ALERT_HANDSHAKE_FAILURE": (
        "it has no TLS 1.2 or newer, no cipher that this machine takes, or wants a certificate from us",
        "tell its operator; if it wants a certificate, set smtp.client_certificate and smtp.client_key",
    ),
    # GnuTLS, as in Debian's Exim, to a client that has no certificate, in TLS 1.2.
    "ALERT_DECODE_ERROR": ("some servers say so when they want a certificate from us", _OURS_IS_WANTED),
    "ALERT_INTERNAL_ERROR": (
        "the server itself has failed, mostly at its own key or certificate",
        "tell its operator: the log there says why",
    ),
} | dict.fromkeys(
    [f"ALERT_{what}" for what in (
        "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED",
        "UNSUPPORTED_CERTIFICATE",
    )],
    _REFUSED,
)  # fmt: skip


def context_for(smarthost: Smarthost) -> ssl.SSLContext:
    """Return the context for this smarthost. Raises RefusedError when a file that it names cannot be used."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if smarthost.ca_file:
        try:
            context.load_verify_locations(cafile=smarthost.ca_file)
        except OSError as error:
            raise _unusable("smtp.ca_file", smarthost.ca_file, error) from error
    if smarthost.client_certificate:
        try:
            # Without a password OpenSSL would ask for one on the terminal, also under cron.
            context.load_cert_chain(smarthost.client_certificate, smarthost.client_key or None, password="")
        except OSError as error:
            raise _unusable("smtp.client_certificate", smarthost.client_certificate, error) from error
    if not smarthost.verify_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def unverified_context() -> ssl.SSLContext:
    """Return a context that accepts every certificate, for looking at one; no secret may go through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _unusable(key: str, path: str, error: OSError) -> RefusedError:
    why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return RefusedError(
        account_trouble(
            Stage.CONFIGURATION,
            f"{key} {path} cannot be used: {why or error}",
            why="it must hold certificates in PEM form, and a key without a pass phrase",
            remedy=f"check the file, or run `ucrmmail config unset {key}`",
            exit_code=78,
        )
    )


def seen_certificate(sock: socket.socket) -> Certificate | None:
    """Return the server's certificate, trusted or not; None when there is none that can be read."""
    der = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    if der is None:
        return None
    try:
        from ucrmmail.smtp.certificate import read_certificate  # noqa: PLC0415 # 90 ms, and only for explanations
    except ImportError:
        return None
    return read_certificate(der)


def speaks_no_tls(error: ssl.SSLError) -> bool:
    """Return whether the other side's first bytes were no TLS: it speaks plain text, or something else altogether."""
    return error.reason in _NO_TLS_AT_ALL


def tls_trouble(
    smarthost: Smarthost, error: ssl.SSLError, certificate: Certificate | None, in_clear: InClear | None
) -> Trouble:
    """Return what a failed handshake means.

    ``certificate`` is the one that was not trusted, ``in_clear`` what the server says in plain text where it spoke no
    TLS; each None when it was not seen.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        what, remedy = _mistrust(smarthost, error.verify_code, certificate)
        return account_trouble(
            Stage.TLS,
            what or f"{_WHOSE}{smarthost.name} is not trusted: {error.verify_message}",
            why=f"OpenSSL says: {error.verify_message.rstrip('.')}. Mail waits here, and no password was sent",
            remedy=remedy,
        )
    reason = error.reason or str(error)
    if speaks_no_tls(error):
        return _plain_text(smarthost, in_clear)
    if reason in _TOO_OLD:
        return account_trouble(
            Stage.TLS,
            f"{smarthost.name} speaks no TLS that is safe today",
            why="TLS 1.2 is the oldest version that is accepted",
            remedy="tell its operator, or use another smarthost",
        )
    why, remedy = told_of_alert(smarthost, reason) or ("", _SEE_OPENSSL)
    return account_trouble(
        Stage.TLS, f"the TLS handshake with {smarthost.name} failed: {reason}", why=why, remedy=remedy
    )


def told_of_alert(smarthost: Smarthost, reason: str) -> tuple[str, str] | None:
    """Return why a server has ended TLS, and the remedy, by OpenSSL's name for what it said; None for another one.

    In TLS 1.3 what it says of our certificate comes when the handshake is over for us.
    """
    told = next((told for alert, told in _ALERTS.items() if alert in reason), None)
    # "Bad certificate" is what servers in Go (TLS 1.2) and Java say to a client that has none.
    return ("", _OURS_IS_WANTED) if told is _REFUSED and not smarthost.client_certificate else told


def is_mistrust(trouble: Trouble) -> bool:
    """Return whether the server was reached, and its certificate is not trusted."""
    return trouble.stage is Stage.TLS and trouble.what.startswith(_WHOSE)


def _plain_text(smarthost: Smarthost, in_clear: InClear | None) -> Trouble:
    """Return the trouble of a server that answers the first bytes of TLS with plain text."""
    why = "the port is one for STARTTLS or plain text"
    remedy = "run `ucrmmail config set smtp.encryption starttls`, or set smtp.port to one for TLS (465)"
    if in_clear is not None:
        why = f"it greets in plain text: {in_clear.greeting[:_MOST_SHOWN]}"
        if not in_clear.starttls:
            remedy = (
                "this port offers no STARTTLS either: `ucrmmail test-connection --probe` finds one with TLS, such as "
                "587 with `ucrmmail config set smtp.encryption starttls`"
            )
        elif smarthost.encryption == "tls":
            remedy = "this port speaks STARTTLS: run `ucrmmail config set smtp.encryption starttls`"
        else:
            remedy = "it offers STARTTLS and does not do it: tell its operator"
    return account_trouble(Stage.TLS, f"{smarthost.name} does not speak TLS where it should", why=why, remedy=remedy)


def _mistrust(smarthost: Smarthost, code: int, certificate: Certificate | None) -> tuple[str, str]:
    """Return (what, remedy) for a verification error of OpenSSL."""
    whose = f"{_WHOSE}{smarthost.name}"
    trust_it = "if you know this server, run `ucrmmail config set smtp.ca_file FILE` with its CA's certificate"
    if code == _EXPIRED:
        when = f" on {certificate.not_after:%Y-%m-%d %H:%M} UTC" if certificate else ""
        return f"{whose} expired{when}", "tell its operator; if the date is right, check this machine's clock"
    if code == _NOT_YET_VALID:
        when = f" until {certificate.not_before:%Y-%m-%d %H:%M} UTC" if certificate else ""
        return f"{whose} is not valid{when}", "check this machine's clock"
    if code in _OTHER_NAME:
        names = f" ({certificate.told_names})" if certificate else ""
        return (
            f"{whose} is for another name{names}, not for {smarthost.host}",
            "set smtp.host to a name that the certificate has",
        )
    if code == _SELF_SIGNED:
        return f"{whose} is self-signed: nobody vouches for it", trust_it
    if code in _UNKNOWN_ISSUER:
        issuer = f" ({certificate.issuer})" if certificate else ""
        return (
            f"{whose} was issued by an authority that is not trusted here{issuer}",
            f"{trust_it}; or its operator has left out an intermediate certificate",
        )
    return "", _SEE_OPENSSL
