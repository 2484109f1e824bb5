"""The stages of a session as a test of the connection shows them: how long each took, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass, field

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from ucrmmail.clock import Clock
    from ucrmmail.message.outcome import Stage, Trouble
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.certificate import Certificate

# An authority that renews by itself does so a month before the end; a certificate this old is forgotten.
_EXPIRES_SOON_DAYS = 21


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of the dialogue, as a test of the connection shows it.

    ``warning`` is what holds today and may not tomorrow; ``facts`` is what a program may want to know of the stage.
    """

    stage: Stage
    ok: bool
    seconds: float
    detail: str = ""
    reply: str = ""
    remedy: str = ""
    warning: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


class Watcher(Protocol):
    """Who wants to see the stages."""

    def stage(self, report: StageReport) -> None:
        """See one stage that is over."""


class Stages:
    """Tells a watcher how long each stage took; without one it does nothing."""

    def __init__(self, watcher: Watcher | None, clock: Clock) -> None:
        self._watcher = watcher
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def watched(self) -> bool:
        """Whether anybody sees the stages."""
        return self._watcher is not None

    def over(
        self,
        stage: Stage,
        detail: str,
        *,
        reply: Reply | None = None,
        warning: str = "",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Report that this stage is over and well; the next one begins."""
        self._report(StageReport(stage, True, self._spent_s(), detail, _said(reply), "", warning, facts or {}))

    def failed(self, trouble: Trouble, facts: Mapping[str, object] | None = None) -> None:
        """Report a stage that ended with this trouble."""
        said = _said(trouble.reply)
        self._report(
            StageReport(trouble.stage, False, self._spent_s(), trouble.what, said, trouble.remedy, "", facts or {})
        )

    def _spent_s(self) -> float:
        began, self._began = self._began, self._clock.monotonic()
        return self._began - began

    def _report(self, report: StageReport) -> None:
        if self._watcher is not None:
            self._watcher.stage(report)


def _said(reply: Reply | None) -> str:
    return str(reply) if reply is not None else ""


def facts_of_ehlo(offered: Capabilities) -> dict[str, object]:
    """Return what the server said of itself."""
    return {
        "name": offered.name,
        "extensions": list(offered.keywords),
        "mechanisms": list(offered.mechanisms),
        "max_size_bytes": offered.size_bytes or None,
        "max_recipients": offered.most_recipients or None,
        "max_transactions": offered.most_transactions or None,
    }


def facts_of_tls(sock: ssl.SSLSocket) -> dict[str, object]:
    """Return the version and the cipher that were negotiated."""
    cipher = sock.cipher()
    return {"version": sock.version(), "cipher": cipher[0] if cipher else None}


def facts_of_certificate(certificate: Certificate | None, now: float) -> dict[str, object]:
    """Return whose certificate it is and until when it holds; nothing without one."""
    if certificate is None:
        return {}
    return {
        "names": list(certificate.names or (certificate.subject,)),
        "issuer": certificate.issuer,
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": certificate.days_left(now),
    }


def told_tls(facts: Mapping[str, object], certificate: Certificate | None, now: float) -> str:
    """Return what was negotiated, and until when the certificate holds."""
    told = f"{facts['version']}, {facts['cipher'] or 'no cipher'}"
    if certificate is not None:
        days = certificate.days_left(now)
        told += f"; certificate for {certificate.told_names}, from {certificate.issuer}, good for {days} days"
    return told


def told_end(certificate: Certificate | None, now: float) -> str:
    """Return the warning about a certificate that ends soon, "" when there is time."""
    if certificate is None or certificate.days_left(now) >= _EXPIRES_SOON_DAYS:
        return ""
    return f"the certificate expires on {certificate.not_after:%Y-%m-%d %H:%M} UTC; without a new one no mail goes then"
