"""What a status code is called for people."""

from __future__ import annotations

import pytest

from ucrmmail.message.explain import explain


@pytest.mark.parametrize(
    ("enhanced", "meaning"),
    [
        ("5.1.1", "no mailbox of this name"),
        ("5.1.10", "receives no mail"),
        ("5.1.99", "did not take this address"),
        ("4.2.2", "full"),
        ("5.3.4", "too large"),
        ("4.4.7", "time allowed"),
        ("5.7.26", "SPF, DKIM or DMARC"),
        ("5.7.509", "by its own rules"),
        ("5.0.0", "no code that tells more"),
        ("5", "no code that tells more"),
        ("", "no code that tells more"),
    ],
)
def test_a_code_means_what_its_detail_says_else_its_subject(enhanced: str, meaning: str) -> None:
    found, advice = explain(enhanced)
    assert meaning in found
    assert advice
