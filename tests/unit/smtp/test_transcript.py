"""The dialogue as it is shown."""

from __future__ import annotations

import base64

import pytest

from ucrmmail.smtp.transcript import Transcript


@pytest.mark.requirement("R28")
def test_a_hidden_secret_is_nowhere_in_clear_or_in_base64() -> None:
    transcript = Transcript()
    transcript.hide("")
    transcript.hide("canary-4711")
    encoded = base64.b64encode(b"canary-4711")
    transcript.sent(b"NOOP canary-4711\r\nNOOP " + encoded + b"\r\n")
    transcript.received(b"250 you said " + encoded.rstrip(b"="))
    assert transcript.lines == ["C: NOOP [redacted]", "C: NOOP [redacted]", "S: 250 you said [redacted]"]


def test_a_long_line_is_cut() -> None:
    transcript = Transcript()
    transcript.received(b"250 " + b"x" * 5000)
    assert transcript.lines[0].endswith("... (5004 characters)")
    assert len(transcript.lines[0]) < 250
