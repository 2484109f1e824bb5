"""TLS with the smarthost: TLS 1.2 at least, chain and host name verified, and failures told in words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.trouble import account_trouble

if TYPE_CHECKING:
    from ucrmmail.smtp.smarthost import Smarthost

_REASONS = {
    10: ("its certificate has expired", "tell its operator; until then mail waits here"),
    18: ("its certificate is self-signed", "set smtp.ca_file to its certificate, if it is yours"),
    19: ("its chain ends in a certificate that is self-signed", "set smtp.ca_file to the CA's certificate"),
    20: (
        "its certificate was issued by an authority that is not trusted here",
        "set smtp.ca_file to the CA's certificate",
    ),
    21: ("its certificate cannot be verified", "set smtp.ca_file to the CA's certificate"),
    62: ("its certificate is for another name", "set smtp.host to a name that the certificate has"),
    64: ("its certificate is for another address", "set smtp.host to a name that the certificate has"),
}


def context_for(smarthost: Smarthost) -> ssl.SSLContext:
    """Return the context for this smarthost. Raises OSError or ssl.SSLError when a file of it cannot be used."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if smarthost.ca_file:
        context.load_verify_locations(cafile=smarthost.ca_file)
    if smarthost.client_certificate:
        context.load_cert_chain(smarthost.client_certificate, smarthost.client_key or None)
    if not smarthost.verify_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_trouble(smarthost: Smarthost, error: ssl.SSLError) -> Trouble:
    """Return what a failed handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why, remedy = _REASONS.get(error.verify_code, (error.verify_message, "see `openssl s_client`"))
        return account_trouble(
            Stage.TLS, f"{smarthost.name} is not trusted: {why}", why=error.verify_message, remedy=remedy
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"):
        return account_trouble(
            Stage.TLS,
            f"{smarthost.name} does not speak TLS from the first byte",
            why="the port is one for STARTTLS or plain text",
            remedy="run `ucrmmail config set smtp.encryption starttls`, or set the port for TLS (465)",
        )
    return account_trouble(
        Stage.TLS,
        f"the TLS handshake with {smarthost.name} failed: {error.reason or error}",
        remedy="check port and encryption; TLS 1.2 is the least that is accepted",
    )
