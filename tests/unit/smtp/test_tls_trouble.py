"""What a failed handshake means, in words: each sentence as a person reads it."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest

from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.capabilities import InClear
from ucrmmail.smtp.certificate import Certificate
from ucrmmail.smtp.smarthost import Smarthost
from ucrmmail.smtp.tls import speaks_no_tls, tls_trouble

NAME = "mx.example.net:587"
CERTIFICATE = Certificate(
    names=("other.example",),
    subject="other.example",
    issuer="Some Authority",
    not_before=dt.datetime(2030, 1, 2, 3, 4, tzinfo=dt.UTC),
    not_after=dt.datetime(2031, 5, 6, 7, 8, tzinfo=dt.UTC),
)
SEE_OPENSSL = "look at it with `openssl s_client`"
TRUST_IT = "if you know this server, run `ucrmmail config set smtp.ca_file FILE` with its CA's certificate"


def smarthost(encryption: str) -> Smarthost:
    return Smarthost("mx.example.net", 587, encryption=encryption)


def failed(reason: str) -> ssl.SSLError:
    """As Python's own: the reason is None where OpenSSL has no name for it."""
    error = ssl.SSLError(1, "it broke")
    error.reason = reason or None  # type: ignore[assignment]
    return error


def mistrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate is odd"
    return error


def told(trouble: Trouble) -> tuple[str, str, str]:
    """Every one of them is the account's, and passes."""
    assert (trouble.scope, trouble.kind, trouble.stage) == (Scope.ACCOUNT, Kind.TRANSIENT, Stage.TLS)
    assert (trouble.exit_code, trouble.reply) == (69, None)
    return trouble.what, trouble.why, trouble.remedy


@pytest.mark.parametrize(
    "reason", ["WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"]
)
@pytest.mark.parametrize("encryption", ["tls", "starttls"])
def test_a_port_that_speaks_no_tls_and_says_nothing_in_clear_either(encryption: str, reason: str) -> None:
    assert speaks_no_tls(failed(reason))
    assert told(tls_trouble(smarthost(encryption), failed(reason), None, None)) == (
        f"{NAME} does not speak TLS where it should",
        "the port is one for STARTTLS or plain text",
        "run `ucrmmail config set smtp.encryption starttls`, or set smtp.port to one for TLS (465)",
    )


@pytest.mark.parametrize(
    ("encryption", "starttls", "remedy"),
    [
        ("tls", True, "this port speaks STARTTLS: run `ucrmmail config set smtp.encryption starttls`"),
        ("starttls", True, "it offers STARTTLS and does not do it: tell its operator"),
        (
            "tls",
            False,
            (
                "this port offers no STARTTLS either: `ucrmmail test-connection --probe` finds one with TLS, such as "
                "587 with `ucrmmail config set smtp.encryption starttls`"
            ),
        ),
    ],
)
def test_a_port_of_plain_text_is_told_with_what_it_greets_with_and_offers(
    encryption: str, starttls: bool, remedy: str
) -> None:
    in_clear = InClear("220 " + "x" * 100, starttls)
    assert told(tls_trouble(smarthost(encryption), failed("WRONG_VERSION_NUMBER"), None, in_clear)) == (
        f"{NAME} does not speak TLS where it should",
        "it greets in plain text: 220 " + "x" * 76,
        remedy,
    )


@pytest.mark.parametrize("reason", ["UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"])
def test_a_server_whose_tls_is_too_old(reason: str) -> None:
    assert told(tls_trouble(smarthost("tls"), failed(reason), None, None)) == (
        f"{NAME} speaks no TLS that is safe today",
        "TLS 1.2 is the oldest version that is accepted",
        "tell its operator, or use another smarthost",
    )


def test_another_fault_of_the_handshake_is_told_in_the_word_of_openssl_or_in_its_sentence() -> None:
    fault = failed("BAD_ECPOINT")
    assert not speaks_no_tls(fault)
    what = f"the TLS handshake with {NAME} failed: BAD_ECPOINT"
    assert told(tls_trouble(smarthost("tls"), fault, None, None)) == (what, "", SEE_OPENSSL)
    what = f"the TLS handshake with {NAME} failed: {failed('')}"
    assert told(tls_trouble(smarthost("tls"), failed(""), None, None)) == (what, "", SEE_OPENSSL)


@pytest.mark.parametrize(
    ("reason", "why", "remedy"),
    [
        # Exim with GnuTLS that knows TLS 1.1 alone; OpenSSL in a server that wants a certificate, TLS 1.2
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "no TLS 1.2 or newer", "if it wants a certificate"),
        # Exim with GnuTLS, tls_verify_hosts and TLS 1.2
        ("TLSV1_ALERT_DECODE_ERROR", "a certificate from us", "set smtp.client_certificate and smtp.client_key"),
        # the same with TLS 1.3 and a certificate of another authority
        ("SSLV3_ALERT_BAD_CERTIFICATE", "does not accept the certificate", "an authority that the server trusts"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not accept the certificate", "an authority that the server trusts"),
        # OpenSMTPD 6.8 as it is in Debian 12
        ("TLSV1_ALERT_INTERNAL_ERROR", "at its own key or certificate", "tell its operator"),
    ],
)
def test_what_a_server_says_when_it_ends_the_handshake_is_explained(reason: str, why: str, remedy: str) -> None:
    ours = replace(smarthost("tls"), client_certificate="/etc/ssl/billing.pem")
    what, told_why, told_remedy = told(tls_trouble(ours, failed(reason), None, None))
    assert what == f"the TLS handshake with {NAME} failed: {reason}"
    assert why in told_why
    assert remedy in told_remedy


def test_who_has_no_certificate_is_not_told_that_it_is_not_accepted() -> None:
    """Servers in Go, with TLS 1.2, and in Java say so where they want one."""
    _, why, remedy = told(tls_trouble(smarthost("tls"), failed("SSLV3_ALERT_BAD_CERTIFICATE"), None, None))
    assert (why, remedy) == (
        "",
        "the server wants a certificate from us: set smtp.client_certificate and smtp.client_key",
    )


@pytest.mark.parametrize(
    ("code", "seen", "unseen", "remedy"),
    [
        (10, " expired on 2031-05-06 07:08 UTC", " expired", "tell its operator; if the date is right, check this machine's clock"),
        (9, " is not valid until 2030-01-02 03:04 UTC", " is not valid", "check this machine's clock"),
        (
            62,
            " is for another name (other.example), not for mx.example.net",
            " is for another name, not for mx.example.net",
            "set smtp.host to a name that the certificate has",
        ),
        (
            64,
            " is for another name (other.example), not for mx.example.net",
            " is for another name, not for mx.example.net",
            "set smtp.host to a name that the certificate has",
        ),
        (18, " is self-signed: nobody vouches for it", " is self-signed: nobody vouches for it", TRUST_IT),
        *[
            (
                code,
                " was issued by an authority that is not trusted here (Some Authority)",
                " was issued by an authority that is not trusted here",
                f"{TRUST_IT}; or its operator has left out an intermediate certificate",
            )
            for code in (2, 19, 20, 21, 27)
        ],
        (24, " is not trusted: certificate is odd", " is not trusted: certificate is odd", SEE_OPENSSL),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_trusted_is_told_with_what_was_seen_of_it(
    code: int, seen: str, unseen: str, remedy: str
) -> None:
    why = "OpenSSL says: certificate is odd. Mail waits here, and no password was sent"
    for certificate, what in ((CERTIFICATE, seen), (None, unseen)):
        trouble = tls_trouble(smarthost("tls"), mistrusted(code), certificate, None)
        assert told(trouble) == (f"the certificate of {NAME}{what}", why, remedy)
