"""What every test stands on, and ``--requirement R19``: the tests that show one requirement, and no others.

``@pytest.mark.requirement("R19", "S17")`` stands on a test that shows these, or a part of them. What each of them asks
for is in ``tests/campaign/README.md``; ``tests/contract/test_requirement_marks.py`` holds that none is without a test.
"""

from __future__ import annotations

import os
import posix
import signal
import sys
import threading

import hypothesis
import pytest

# No test asserts how long anything took, nor does hypothesis for it.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")

# What the branch coverage is taken of: the tests of the rooms that it measures, and what shows the rest of their
# lines. It takes a test twice as long.
_MEASURED = (
    "tests/unit/limits/",
    "tests/unit/smtp/",
    "tests/unit/spool/",
    "tests/unit/test_journal.py",
    "tests/integration/test_connections.py",
    "tests/integration/test_ended_at_a_recipient.py",
    "tests/integration/test_ledger.py",
    "tests/integration/test_ledger_kills.py",
    "tests/integration/test_many_recipients.py",
    "tests/integration/test_out_of_step.py",
    "tests/integration/test_pipelining_liar.py",
    "tests/integration/test_refused_alike.py",
    "tests/integration/test_smtp_",
    "tests/integration/test_spool_",
    "tests/integration/test_test_connection.py",
    "tests/integration/test_two_hosts.py",
    "tests/integration/test_wrongly_blamed.py",
)


def _see_nothing() -> None:
    """Let the branch coverage leave out the processes that a test forks from its own: watched programs show the same.

    Each of them would write down what the whole session has seen so far, for longer than most of them live.
    """
    sys.settrace(None)
    threading.settrace(None)
    os._exit = posix._exit


os.register_at_fork(after_in_child=_see_nothing)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirement",
        action="append",
        default=[],
        metavar="NAME",
        help="run only what shows this requirement, such as R19 or S5; may be given several times",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give the tested programs a Ctrl-C: a shell that starts the suite with ``&`` has it ignored, and all inherit that."""
    config.addinivalue_line("markers", "requirement(*names): shows these requirements, or a part of them")
    config.addinivalue_line("markers", "watched: the branch coverage sees the programs that this starts")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Named sources, as in `--cov=ucrmmail`, are for who wants to see all.
    if config.getoption("cov_source", None) == [True]:
        for item in items:
            if not item.nodeid.startswith(_MEASURED):
                item.add_marker("no_cover")
    wanted = set(config.getoption("requirement"))
    if not wanted:
        return
    shown = [{name for mark in item.iter_markers("requirement") for name in mark.args} for item in items]
    unknown = wanted.difference(*shown)
    if unknown:
        raise pytest.UsageError(f"--requirement: no test here shows {', '.join(sorted(unknown))}")
    chosen = [item for item, names in zip(items, shown, strict=True) if names & wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
