"""What the shells complete with: values that only the program knows (``ucrmmail __complete``).

    ucrmmail __complete KIND [WORD]... CURRENT

The files in completions/ know every command and option by themselves and call this for a value. KIND is the name of the
value in the synopsis, in lower case (KEY is ``key``, QUEUE_ID is ``queue-id``); each WORD stands before the cursor, the
``--config`` that was typed among them; CURRENT is the beginning of the word at the cursor. The answer is one value a
line, a tab, and a description. The shell chooses among them, by its own rules; only queue ids are narrowed down here.

A Tab key must be quick and must never disturb: no typer is imported, nothing is asked, and what cannot be read is
silence.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from ucrmmail.errors import UcrmmailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ucrmmail.config.load import Config
    from ucrmmail.spool.unread import Unread

# More than fit a screen help nobody.
_MOST_IDS = 100


def print_completions(arguments: Sequence[str]) -> None:
    """Print the values for what follows ``__complete``; nothing when there are none, or the question is not known."""
    from ucrmmail.output.human import say_fields

    kind, words, current = arguments[0] if arguments else "", arguments[1:-1], arguments[-1] if arguments else ""
    if kind not in KINDS:
        return
    try:
        for value, description in KINDS[kind](words, current):
            say_fields((value, description))
    except (UcrmmailError, OSError):
        return


def _keys(words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    """Yield every key with what it is and what it is set to; after ``unset`` those that the file sets."""
    from ucrmmail.config.schema import KEYS

    config = _config(words)
    for path, key in KEYS.items():
        is_set = config is not None and config.is_set(path)
        if "unset" in words and not is_set:
            continue
        # The value comes first: a narrow terminal cuts the end.
        now = f"[{_shown(config, path)}] " if config is not None and is_set else ""
        yield path, now + key.help.partition(". ")[0].removesuffix(".")


def _values(words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    """Yield the values of the key before it, where they can be listed, and the one that it has."""
    from ucrmmail.config.schema import KEYS

    key = next((KEYS[word] for word in words if word in KEYS), None)
    if key is None or key.secret:
        return
    if key.path == "smtp.transport":
        yield from _presets(words, "")
        return
    config = _config(words)
    now = _shown(config, key.path) if config is not None else ""
    for choice in key.kind.choices:
        yield choice, "as it is now" if choice == now else ""
    if now and now not in key.kind.choices:
        yield now, "as it is now"


def _presets(_words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    from ucrmmail.config.presets import PRESETS

    for preset in PRESETS:
        yield preset.name, preset.title


def _queue_ids(words: Sequence[str], current: str) -> Iterator[tuple[str, str]]:
    """Yield the messages that the command makes sense for, and that are not named yet, each with its recipients."""
    from ucrmmail.spool.listing import STATES, message, queue_ids
    from ucrmmail.spool.manage import STATES_FOR

    directory = _spool_directory(words)
    states = next((STATES_FOR[word] for word in words if word in STATES_FOR), tuple(STATES))
    fitting = (
        queue_id for queue_id in queue_ids(directory, states) if queue_id.startswith(current) and queue_id not in words
    )
    for queue_id in islice(fitting, _MOST_IDS):
        unread: list[Unread] = []
        queued = message(directory, queue_id, unread=unread)
        # What can only be removed is offered too.
        for each in unread:
            yield queue_id, f"cannot be read: {each.why}"
        if queued is not None:
            more = f" and {len(queued.recipients) - 1} more" if len(queued.recipients) > 1 else ""
            yield queue_id, f"{queued.state}, to {queued.recipients[0]}{more}"


def _states(words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    from ucrmmail.spool.listing import STATES, counts

    found = counts(_spool_directory(words))
    for state in STATES:
        count = getattr(found, state)
        yield state, f"{count} message{'s' * (count != 1)}"


def _priorities(_words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    from ucrmmail.spool.layout import PRIORITIES

    yield from zip(PRIORITIES, ("before all others", "as most mail", "after all others"), strict=True)


def _stores(_words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    yield "keyring", "the keyring of the system"
    yield "file", "an owner-only file beside the configuration"
    yield "command", "the program of credentials.command"


def _checks(_words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    from ucrmmail.doctor.check import CHECKS

    yield from CHECKS.items()


def _addresses(words: Sequence[str], _current: str) -> Iterator[tuple[str, str]]:
    """Yield the addresses that are configured."""
    from ucrmmail.config.schema import KEYS

    config = _config(words)
    for key in KEYS.values():
        if config is not None and key.table == "addresses" and config.text(key.path):
            yield config.text(key.path), key.known_as


def _domains(words: Sequence[str], current: str) -> Iterator[tuple[str, str]]:
    """Yield the domains that are configured, and those of the addresses."""
    config = _config(words)
    if config is None:
        return
    seen = set(words)
    origins = [(domain, "dns.domains") for domain in config.words("dns.domains")]
    origins += [(address.rpartition("@")[2], origin) for address, origin in _addresses(words, current)]
    for domain, origin in origins:
        if domain not in seen:
            seen.add(domain)
            yield domain, origin


KINDS: dict[str, Callable[[Sequence[str], str], Iterator[tuple[str, str]]]] = {
    "key": _keys,
    "value": _values,
    "preset": _presets,
    "queue-id": _queue_ids,
    "state": _states,
    "priority": _priorities,
    "store": _stores,
    "check": _checks,
    "address": _addresses,
    "domain": _domains,
}


def _config(words: Sequence[str]) -> Config | None:
    """Return what is right in the configuration; None when it cannot be read."""
    from ucrmmail.config.load import examine
    from ucrmmail.config.location import locate

    try:
        return examine(locate(_config_option(words), os.environ, os.geteuid())).config
    except (UcrmmailError, OSError):
        return None


def _spool_directory(words: Sequence[str]) -> str:
    from ucrmmail.config.location import locate
    from ucrmmail.config.submission import read_submission_settings

    location = locate(_config_option(words), os.environ, os.geteuid())
    return read_submission_settings(location.path, os.environ, os.geteuid()).spool_directory


def _config_option(words: Sequence[str]) -> str | None:
    """Return the file that was typed behind ``--config``, as the shell would read it; None when there is none."""
    typed = next((word.partition("=")[2] for word in words if word.startswith("--config=")), None)
    if typed is None and "--config" in words[:-1]:
        typed = words[words.index("--config") + 1]
        # bash parts a word at its equals sign.
        if typed == "=":
            typed = "".join(words[words.index("--config") + 2 :][:1])
    return os.path.expanduser(typed) if typed else None


def _shown(config: Config | None, path: str) -> str:
    """Return a value as it would be typed; "" for none."""
    from ucrmmail.output.settings import shown

    return shown(path, config.written(path)) if config is not None else ""
