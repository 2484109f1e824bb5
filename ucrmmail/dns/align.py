"""What a receiver concludes for a message of this account: which of SPF and DKIM stands for the From domain.

DMARC asks that the domain in From aligns with a domain that SPF or DKIM has authenticated (RFC 9989 section 3.2.10).
Either is enough; both are better, since forwarding breaks SPF, and mailing lists break DKIM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.dmarc import DmarcResult, evaluate, organization_of
from ucrmmail.dns.finding import Finding, Severity, reason

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Resolver

_RFC = "RFC 9989 section 3.2.10"
# Mail with such a domain in From is accepted only from the provider itself: they publish p=quarantine or p=reject, or
# Gmail enforces it anyway ("Email sender guidelines").
_CONSUMER_DOMAINS = {
    "gmail.com": "gmail",
    "googlemail.com": "gmail",
    "outlook.com": "outlook",
    "hotmail.com": "outlook",
    "live.com": "outlook",
    "yahoo.com": "yahoo",
    "ymail.com": "yahoo",
    "aol.com": "yahoo",
    "icloud.com": "icloud",
    "me.com": "icloud",
    "mac.com": "icloud",
}

CODES: dict[str, str] = {
    "align-pass": "SPF and DKIM both stand for the domain in From: mail of this account passes DMARC, also when one of"
    " them breaks on the way.",
    "align-spf-only": "Only SPF stands for the domain in From. Forwarding breaks SPF, and the message then fails DMARC."
    " Sign with DKIM, with the domain of From in d=.",
    "align-dkim-only": "Only DKIM stands for the domain in From. Gmail and Yahoo ask bulk senders for SPF too; let the"
    " reverse-path use the same organization's domain, and its SPF record name the sending servers.",
    "align-fail": "Neither SPF nor DKIM stands for the domain in From, so mail of this account fails DMARC: receivers"
    " do with it what the policy asks for.",
    "align-unknown": "It could not be found out whether mail of this account passes DMARC: the DNS did not answer, or"
    " no sending address is known (dns.sending_addresses) and no DKIM key was found.",
    "align-not-asked": "The domain has no DMARC policy that holds, so no receiver asks for alignment yet.",
    "align-sender": "Mail of this account has a Sender of another organization than that of From (addresses.sender)."
    " DMARC looks at From alone, so that it passes or fails regardless; some programs show such mail as sent on behalf"
    " of From. RFC 9989 section 4.1.",
    "align-consumer-domain": "The From domain belongs to a consumer mail service, and the mail leaves through another"
    " server. Only the service itself can authenticate it; others refuse it. Use a domain of your own in From.",
}


@dataclass(frozen=True, slots=True)
class AlignReport:
    """The conclusion for mail with ``header_from`` in From: ``aligned`` is None when it is not known, or not asked for.

    ``envelope_domain`` is that of the reverse-path, ``sender_domain`` that of Sender ("" without one), and
    ``sender_aligns`` whether it is of the same organization as From (None: not known).
    """

    aligned: bool | None
    result: DmarcResult
    findings: tuple[Finding, ...]
    header_from: str = ""
    envelope_domain: str = ""
    sender_domain: str = ""
    sender_aligns: bool | None = None


def found(code: str, severity: Severity, subject: str, what: str, remedy: str = "") -> Finding:
    """Return a finding; the reason is what the code is explained with."""
    return Finding("align", code, severity, subject, what, why=reason(CODES[code]), remedy=remedy, rfc=_RFC)


async def check_alignment(
    domain: str,
    resolver: Resolver,
    *,
    envelope_domain: str,
    spf_passes: bool | None,
    dkim_signs: bool | None,
    transport: str,
    sender_domain: str = "",
) -> AlignReport:
    """Return what DMARC makes of mail with ``domain`` in From.

    ``envelope_domain`` is that of the reverse-path, and ``spf_passes`` whether SPF passes for it; ``dkim_signs``
    whether a key is there with which the domain signs; None stands for not known. ``sender_domain`` is that of the
    Sender field, "" when the mail has none.
    """
    service = _CONSUMER_DOMAINS.get(domain)
    if service is not None and service != transport:
        what = f"mail from {domain} leaves through another server than that of its service"
        refused = found("align-consumer-domain", Severity.FAIL, domain, what, "use a domain of your own in From")
        return AlignReport(False, DmarcResult("fail"), (refused,), domain, envelope_domain, sender_domain)
    spf = [envelope_domain] if spf_passes else []
    dkim = [domain] if dkim_signs else []
    result = await evaluate(domain, spf, dkim, resolver)
    known = spf_passes is not None and dkim_signs is not None
    finding = _conclusion(domain, envelope_domain, result, known=known, spf_is_known=spf_passes is not None)
    aligned = {"pass": True, "fail": False if known else None}.get(result.result)
    sender_aligns, told = await _of_sender(domain, sender_domain, result, resolver)
    return AlignReport(
        aligned, result, (finding, *told), domain, envelope_domain, sender_domain, sender_aligns=sender_aligns
    )


async def _of_sender(
    domain: str, sender_domain: str, result: DmarcResult, resolver: Resolver
) -> tuple[bool | None, tuple[Finding, ...]]:
    """Return whether Sender is of the organization that From is of, and what to tell when it is not."""
    if not sender_domain or sender_domain == domain:
        return True if sender_domain else None, ()
    organization = await organization_of(sender_domain, resolver)
    if not organization or not result.org_domain:
        return None, ()
    if organization == result.org_domain:
        return True, ()
    what = f"mail from {domain} has a Sender of {sender_domain}; DMARC does not look at it"
    return False, (found("align-sender", Severity.INFO, domain, what, f"set addresses.sender to one of {domain}"),)


def _conclusion(domain: str, envelope_domain: str, result: DmarcResult, *, known: bool, spf_is_known: bool) -> Finding:
    by_spf = f"SPF by {envelope_domain}" if result.spf_aligned else ""
    by_dkim = f"DKIM by d={domain}" if result.dkim_aligned else ""
    match result.result:
        case "temperror":
            what = f"the DNS did not answer: {result.detail}"
            return found("align-unknown", Severity.ERROR, domain, what, "run the check again later")
        case "none":
            return found("align-not-asked", Severity.INFO, domain, "no policy asks for alignment")
        case "pass" if by_spf and by_dkim:
            return found("align-pass", Severity.PASS, domain, f"DMARC passes: {by_spf}, {by_dkim}")
        case "pass" if by_spf:
            remedy = f"let your provider sign with d={domain}, and publish its key"
            return found("align-spf-only", Severity.WARN, domain, f"DMARC passes by SPF alone ({by_spf})", remedy)
        case "pass":
            remedy = f"make SPF of {envelope_domain} pass, or use a reverse-path in {domain}"
            return found("align-dkim-only", Severity.INFO, domain, f"DMARC passes by DKIM alone ({by_dkim})", remedy)
    if not known:
        what = "no sending address and no DKIM key is known from which to conclude"
        remedy = "run `ucrmmail config set dns.sending_addresses`, or give --selector"
        if spf_is_known:
            what = f"SPF (of {envelope_domain}) does not stand for {domain}, and no DKIM key is known"
            remedy = "give the selector that your mail is signed with: --selector, or dns.dkim_selectors"
        return found("align-unknown", Severity.WARN, domain, what, remedy)
    what = f"neither SPF (of {envelope_domain}) nor DKIM stands for {domain}; receivers apply: {result.policy}"
    severity = Severity.WARN if result.policy == "none" else Severity.FAIL
    return found("align-fail", severity, domain, what, f"publish DKIM for {domain}, and let SPF name your servers")
