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


def test_a_line_of_two_hundred_characters_is_whole() -> None:
    transcript = Transcript()
    transcript.received(b"x" * 200)
    transcript.received(b"x" * 201)
    assert transcript.lines == ["S: " + "x" * 200, "S: " + "x" * 200 + "... (201 characters)"]


@pytest.mark.requirement("R28")
def test_every_secret_is_hidden_whatever_bytes_it_is_of() -> None:
    transcript = Transcript()
    secrets = ["first-4711", "zweites-ü", "with-\udcff-bytes"]
    for secret in secrets:
        transcript.hide(secret)
    for secret in secrets:
        raw = secret.encode("utf-8", "surrogateescape")
        encoded = base64.b64encode(raw)
        for form in (raw, encoded, encoded.rstrip(b"=")):
            transcript.received(b"250 " + form)
    assert set(transcript.lines) == {"S: 250 [redacted]"}


def test_bytes_that_are_no_text_are_kept() -> None:
    transcript = Transcript()
    transcript.received(b"250 \xff")
    assert transcript.lines == ["S: 250 \udcff"]


def test_a_dialogue_without_end_is_cut_and_says_so() -> None:
    transcript = Transcript()
    for number in range(1000):
        transcript.received(b"%d" % number)
    assert len(transcript.lines) == 400
    assert transcript.lines[398:] == ["S: 398", "... (the rest is not recorded)"]
    short = Transcript()
    for number in range(400):
        short.received(b"%d" % number)
    assert short.lines[-1] == "S: 399"
