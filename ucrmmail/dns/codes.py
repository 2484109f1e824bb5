"""Every code of a finding and what it means: what ``--explain`` says, and the manual prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dns import align, case, dkim_check, dkim_message, dkim_private, dmarc_check, spf_codes

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
}
