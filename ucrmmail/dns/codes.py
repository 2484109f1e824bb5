"""Every code of a finding and what it means: what ``--explain`` says, and the manual prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dns import (
    align,
    bimi,
    blocklist,
    case,
    dane,
    dkim_check,
    dkim_message,
    dkim_private,
    dmarc_check,
    domain,
    helo,
    mta_sts,
    mx,
    ptr,
    spf_codes,
    tls_rpt,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CODES: Mapping[str, str] = {
    **spf_codes.CODES,
    **dkim_check.CODES,
    **dkim_message.CODES,
    **dkim_private.CODES,
    **dmarc_check.CODES,
    **align.CODES,
    **case.CODES,
    **mx.CODES,
    **ptr.CODES,
    **helo.CODES,
    **mta_sts.CODES,
    **tls_rpt.CODES,
    **dane.CODES,
    **bimi.CODES,
    **domain.CODES,
    **blocklist.CODES,
}
