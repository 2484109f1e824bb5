"""The smarthost: one session as the flush would open it, up to RCPT, and what its stages mean. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field, replace
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.errors import UcrmmailError
from ucrmmail.message.outcome import Scope, Stage
from ucrmmail.smtp.opening import SessionError, open_session
from ucrmmail.smtp.rehearse import rehearse
from ucrmmail.smtp.trouble import account_trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.stages import StageReport
    from ucrmmail.smtp.wire import Observer

_LOGIN = (Stage.AUTH,)
_SENDER = (Stage.MAIL, Stage.RCPT, Stage.RSET)


class NoSecretError(Exception):
    """The session has come to the login, and there is no secret."""


@dataclass(slots=True)
class Seen:
    """What was seen of a session: its stages, the first trouble, and what the server offers; None where there is none.

    It is the session's watcher too.
    """

    stages: list[StageReport] = field(default_factory=list)
    trouble: Trouble | None = None
    offered: Capabilities | None = None
    without_secret: bool = False

    def stage(self, report: StageReport) -> None:
        """See one stage that is over."""
        self.stages.append(report)

    def facts(self, stage: Stage) -> dict[str, object]:
        """Return what is known of a stage that was reached."""
        return next((dict(report.facts) for report in self.stages if report.stage is stage), {})


def try_session(
    smarthost: Smarthost,
    *,
    secret: Callable[[], str],
    sender: str,
    clock: Clock,
    after_refusal: Callable[[], str] = str,
    recipient: str = "",
    observer: Observer | None = None,
) -> Seen:
    """Open a session, ask whether the ``sender`` ("": nobody) is taken, and say good-bye.

    ``secret()`` may raise NoSecretError: what comes before the login was tested all the same. ``after_refusal()`` gives
    another token where a kept one is refused, or raises UcrmmailError.
    """
    seen = Seen()
    try:
        session = open_session(
            smarthost, secret=secret, after_refusal=after_refusal, clock=clock, observer=observer, watcher=seen
        )
    except SessionError as error:
        seen.trouble = error.trouble
        return seen
    except NoSecretError:
        seen.without_secret = True
        return seen
    except UcrmmailError as error:
        seen.trouble = account_trouble(
            Stage.AUTH, error.what, why=error.why, remedy=error.remedy, exit_code=error.exit_code
        )
        return seen
    seen.offered = session.capabilities
    if sender:
        seen.trouble = rehearse(session, sender, recipient or sender)
        if seen.trouble is not None and seen.trouble.scope is Scope.ACCOUNT:
            session.close()
            return seen
    session.quit()
    return seen


def judge_connection(seen: Seen, smarthost: Smarthost) -> Check:
    """Judge everything before the login: name, connection, greeting, EHLO, TLS and the certificate."""
    trouble = _trouble_in(seen, before_login=True)
    if trouble is not None:
        failed = _failed("connection", trouble)
        if trouble.stage is Stage.RESOLVE:
            return failed
        return replace(failed, remedy=f"{trouble.remedy}; `ucrmmail test-connection --probe` tries the other ports")
    tls = seen.facts(Stage.TLS)
    encrypted = f"{tls.get('version')}, certificate until {str(tls.get('not_after'))[:10]}" if tls else "not encrypted"
    warning = next((report.warning for report in seen.stages if report.warning), "")
    facts: dict[str, object] = {name: tls[name] for name in ("version", "not_after", "days_left") if name in tls}
    detail = f"{smarthost.name}: {encrypted}"
    if warning:
        remedy = "tell who runs the smarthost"
        return Check("connection", Verdict.WARN, f"{smarthost.name}: {warning}", remedy, facts=facts)
    return Check("connection", Verdict.OK, detail, facts=facts)


def judge_login(seen: Seen, smarthost: Smarthost) -> Check:
    """Judge the login."""
    if not smarthost.logs_in:
        return Check("login", Verdict.SKIPPED, "the account does not log in")
    if _trouble_in(seen, before_login=True) is not None:
        return Check("login", Verdict.SKIPPED, "there is no connection to log in on")
    if seen.without_secret:
        return Check("login", Verdict.SKIPPED, "there is no secret to log in with")
    if seen.trouble is not None and seen.trouble.stage in _LOGIN:
        return _failed("login", seen.trouble)
    mechanism = seen.facts(Stage.AUTH).get("mechanism")
    return Check("login", Verdict.OK, f"as {smarthost.username} with {mechanism}", facts={"mechanism": mechanism})


def judge_sender(seen: Seen, sender: str) -> Check:
    """Judge whether the server takes mail from the sender, to the same address."""
    if not sender:
        return Check(
            "sender",
            Verdict.WARN,
            "there is no address to send from",
            "run `ucrmmail config set addresses.sender you@example.com`",
        )
    if seen.without_secret or _trouble_in(seen, before_login=True) or _is_of(seen.trouble, _LOGIN):
        return Check("sender", Verdict.SKIPPED, "there is no session to ask in")
    if seen.trouble is not None:
        return _failed("sender", seen.trouble)
    return Check("sender", Verdict.OK, f"mail from {sender} would be taken")


def _trouble_in(seen: Seen, *, before_login: bool) -> Trouble | None:
    of_session = seen.trouble is not None and seen.trouble.stage not in (*_LOGIN, *_SENDER)
    return seen.trouble if of_session is before_login else None


def _is_of(trouble: Trouble | None, stages: tuple[Stage, ...]) -> bool:
    return trouble is not None and trouble.stage in stages


def _failed(name: str, trouble: Trouble) -> Check:
    said = f": {trouble.reply}" if trouble.reply is not None else ""
    facts = {"stage": trouble.stage.value, "reply": str(trouble.reply) if trouble.reply is not None else None}
    why = f" ({trouble.why})" if trouble.why else ""
    return Check(name, Verdict.FAIL, f"{trouble.what}{said}{why}", trouble.remedy, facts=facts)
