r"""Text for people turned into mdoc(7): what must be escaped is escaped here, and nowhere else.

Running text knows three marks, so that the hand-written parts and the help texts of the program read as they are:

    `smtp.host`              a literal: its macro follows from what it is (option, key, path, variable, value name)
    *never*                  emphasis
    ucrmmail.toml(5)         another page

Options (--json) and keys (smtp.host) are recognised without marks too. In mdoc a line that begins with a dot or an
apostrophe is a command, a backslash begins an escape, a minus sign and quotes have forms of their own, and a word in a
macro's line that is the name of a macro is called.
"""

from __future__ import annotations

import re
import textwrap

from ucrmmail.config.schema import KEYS

WIDTH = 78

_VARIABLE = re.compile(r"(UCRMMAIL|XDG|DBUS|CREDENTIALS)_[A-Z_]+|HOME|VISUAL|EDITOR|NO_COLOR|TERM|PATH")
_VALUE_NAME = re.compile(r"[A-Z][A-Z_]*")
_FLAG = re.compile(r"--?[A-Za-z][A-Za-z-]*(?:[ =][A-Z][A-Z_]*)?|--")
_PROGRAM = re.compile(r"ucrmmail(-sendmail)?")
_PATH = re.compile(r"(~|\$[A-Z_]+)?/[^ ]*|[a-z.]+/([A-Za-z_./-]+)?|[a-z-]+\.(toml|json|log|eml)")
_REFERENCE = r"[a-z][a-z0-9_.-]*\([1-8]\)"
_KEY = rf"\b(?:{'|'.join(map(re.escape, KEYS))})\b(?!\.\w)"
_SPAN = re.compile(rf"`[^`]+`|\*\w[^*]*\*|(?<![\w.-])--[a-z][a-z-]*[a-z]|\b{_REFERENCE}|{_KEY}")
_SENTENCE_END = re.compile(r"(?<=[.!?:]) (?=[A-Z`])|(?<=[.!?]\)) (?=[A-Z`])")
# What mdoc prints beside a macro's argument without a blank.
_BEFORE, _AFTER = "([", ".,:;)]?!"
_LOOKS_LIKE_A_MACRO = re.compile(r"%?[A-Z][a-z0-9][a-z]?|.")
_LITERALLY = str.maketrans({
    "\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti",
})  # fmt: skip


def literal(text: str) -> str:
    """Return text that is to be printed, and copied, exactly as it is."""
    return _protected(text.translate(_LITERALLY))


def running(text: str) -> str:
    """Return running text: quotes and hyphens may be made beautiful."""
    return _protected(text.replace("\\", r"\e"))


def _protected(line: str) -> str:
    found = "".join(each if each.isascii() else rf"\[u{ord(each):04X}]" for each in line)
    return rf"\&{found}" if found.startswith((".", "'")) else found


def argument(text: str) -> str:
    """Return a literal as one argument of a macro."""
    escaped = literal(text).replace('"', r"\(dq")
    if _LOOKS_LIKE_A_MACRO.fullmatch(text):
        return escaped if escaped.startswith(r"\&") else rf"\&{escaped}"
    return f'"{escaped}"' if " " in text else escaped


def flag(name: str) -> str:
    """Return an option, ``--json``, as a macro with its argument."""
    return f"Fl {argument(name[1:])}" if len(name) > 2 else f"Fl {name[1:]}"


def macro(text: str) -> str:
    """Return the macro, with its arguments, that says what a literal is."""
    if _FLAG.fullmatch(text):
        name, _, value = text.replace("=", " ").partition(" ")
        return f"{flag(name)} Ar {value}" if value else flag(name)
    if _VARIABLE.fullmatch(text):
        return f"Ev {text}"
    if _VALUE_NAME.fullmatch(text):
        return f"Ar {argument(text)}"
    if _PROGRAM.fullmatch(text):
        return f"Nm {text}"
    if text in KEYS:
        return f"Va {text}"
    if _PATH.fullmatch(text):
        return f"Pa {argument(text)}"
    return f"Ql {argument(text)}"


def tag(text: str) -> str:
    """Return the macro for the term of a list: as ``macro``, without quotes around a plain one."""
    found = macro(text)
    return f"Sy {found.removeprefix('Ql ')}" if found.startswith("Ql ") else found


def paragraph(text: str) -> list[str]:
    """Return the lines of running text with marks: a sentence begins on a line of its own, as mdoc asks for.

    Raises ValueError when a mark is glued to a word, which no macro can print.
    """
    lines: list[str] = []
    for sentence in _SENTENCE_END.split(" ".join(text.split())):
        end = 0
        for span in _SPAN.finditer(sentence):
            if span.start() < end:
                continue
            if _is_glued(sentence, span):
                continue
            before, after = _beside(sentence, span)
            rest = sentence[end : span.start()].removesuffix(before)
            end = span.end() + len(after)
            lines += _wrapped(rest)
            lines.append(" ".join(["." + _called(span[0], before), *after]))
        lines += _wrapped(sentence[end:])
    return lines


def _is_glued(sentence: str, span: re.Match[str]) -> bool:
    """Return whether a span is a part of a longer word, and so is running text.

    Raises ValueError for a span with a mark: the mark would be printed.
    """
    before, after = _beside(sentence, span)
    start, end = span.start() - len(before), span.end() + len(after)
    glued = (start > 0 and sentence[start - 1] != " ") or (end < len(sentence) and sentence[end] != " ")
    if glued and span[0].startswith(("`", "*")):
        raise ValueError(f"put blanks around {span[0]} in: {sentence}")
    return glued


def _beside(sentence: str, span: re.Match[str]) -> tuple[str, str]:
    """Return the punctuation that touches a span, before it and after it."""
    start, end = span.start(), span.end()
    before = sentence[start - 1] if start and sentence[start - 1] in _BEFORE else ""
    while end < len(sentence) and sentence[end] in _AFTER:
        end += 1
    return before, sentence[span.end() : end]


def _called(span: str, before: str) -> str:
    """Return the macro line for a mark, without its dot; an opening bracket is the macro's first argument."""
    if span.startswith("`"):
        call = macro(span[1:-1])
    elif span.startswith("*"):
        call = f"Em {argument(span[1:-1])}"
    elif re.fullmatch(_REFERENCE, span):
        name, _, section = span.rstrip(")").partition("(")
        call = f"Xr {name} {section}"
    else:
        call = macro(span)
    name, _, arguments = call.partition(" ")
    return f"{name} {before} {arguments}" if before else call


def _wrapped(text: str) -> list[str]:
    """Return running text in lines; what begins with a dot after the wrapping is protected too."""
    return [
        running(line) for line in textwrap.wrap(text.strip(), WIDTH, break_long_words=False, break_on_hyphens=False)
    ]


def display(lines: tuple[str, ...] | list[str]) -> list[str]:
    """Return lines to be shown exactly as they are, indented."""
    return [".Bd -literal -offset indent", *map(literal, lines), ".Ed"]
