"""The configuration file and the secret: valid, complete, and there for cron too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.config.advice import advice
from ucrmmail.doctor.check import Check, Verdict

if TYPE_CHECKING:
    from ucrmmail.config.load import Examination
    from ucrmmail.errors import UcrmmailError


def judge_config(found: Examination) -> Check:
    """Judge the content of the file; that it can be trusted was found when it was read."""
    path = found.config.path
    facts = {"path": path}
    if found.problems:
        detail = "; ".join(str(problem) for problem in found.problems)
        return Check("config", Verdict.FAIL, detail, "`ucrmmail config edit`", facts=facts)
    problem = found.config.smarthost_problem()
    if problem is not None:
        return Check("config", Verdict.FAIL, f"{problem.what} ({problem.why})", problem.remedy, facts=facts)
    remarks = advice(found.config)
    if remarks:
        detail = "; ".join(f"{remark.key} {remark.what}" for remark in remarks)
        remedy = next((remark.remedy for remark in remarks if remark.remedy), "`ucrmmail config edit`")
        return Check("config", Verdict.WARN, f"{path}: {detail}", remedy, facts=facts)
    return Check("config", Verdict.OK, path, facts=facts)


def judge_secret(name: str, source: str, account: str, error: UcrmmailError | None) -> Check:
    """Judge a look for the secret: ``secret`` is the one in this environment, ``cron-secret`` the one in cron's."""
    if error is None:
        return Check(name, Verdict.OK, f"{source} has the secret of {account}", facts={"source": source})
    where = "cron would not find it: " if name == "cron-secret" else ""
    why = f" ({error.why})" if error.why else ""
    return Check(name, Verdict.FAIL, f"{where}{error.what}{why}", error.remedy, facts={"source": source or None})
