"""Days of a world of ``policy_worlds`` in which processes are killed, disks fail, and a person meddles with the queue."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tests.campaign.mishaps import (
    REFUSALS,
    Done,
    FewFiles,
    Mishap,
    Refused,
    Several,
    ShutAway,
    Signalled,
    in_a_process,
)
from tests.campaign.policy_days import SLACK_S, Days
from tests.campaign.policy_worlds import World
from tests.support.provider import Mail
from tests.support.smtp_server import Dialogue, Said, SmtpServer
from tests.support.spools import put
from ucrmmail.dataclass import replace
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.message.envelope import Addresses
from ucrmmail.message.prepare import Prepared, prepare
from ucrmmail.spool.listing import QueuedMessage
from ucrmmail.spool.manage import Change, hold, release, remove, retry
from ucrmmail.spool.state import RecipientState

# Behind these runs nothing happens any more: what was begun has to come to its end.
MISHAPS_UNTIL_RUN = 12
_NEVER = Mishap(0)
# Into the system, as a run makes them.
_CALLS, _CALLS_A_MESSAGE = 90, 22
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
# What a person, or a disk, shuts away for some runs.
_SHUT_PLACES = ("queue", "deferred", "failed", "state", "tmp", "sent", "drop", "journal", "ledger", "account.json")
_SHUT_NAMES = (("unlink", "rename"), ("unlink",), ("rename",), ("mkdir",), ("open",), ("rename", "mkdir", "open"))


# What a run that the disk has ended says of a message that can be neither recorded nor removed.
_IN_DOUBT = re.compile(r"what became of (\S+) could not be recorded: it may be delivered twice")


class MishapDays(Days):
    """``mishaps`` tells in words what has happened, ``met`` counts what has ended a run, and ``last_mishap_s`` is when
    the last one was.

    ``removed`` are the Message-IDs of what a person has removed, with the number of transactions before that, and
    ``held`` of what was held during a run, with those before that and before its release.
    """

    runs_by_the_minute = MISHAPS_UNTIL_RUN + Days.runs_by_the_minute

    def __init__(self, world: World, home: Path) -> None:
        super().__init__(world, home)
        self.dice = random.Random(f"mishaps {world.seed}")
        # So that each run that something happens to has something to send.
        world.later = {mail.number: self.dice.randrange(MISHAPS_UNTIL_RUN - 1) for mail in world.mails}
        self.by_id = {mail.message_id: mail for mail in world.mails}
        self.machine.prepare = self._prepare
        self.mishaps: list[str] = []
        self.last_mishap_s = 0.0
        self.met: Counter[str] = Counter()
        # How many transactions were taken before each run, and whether it was to be killed.
        self._lives: list[tuple[int, bool]] = []
        self.removed: dict[str, int] = {}
        self.held: list[tuple[str, int, int]] = []
        self._held: dict[str, int] = {}
        # At which command of a run, from now on, the person comes, and what is submitted then.
        self._comes_in = 0
        self._lock = threading.Lock()
        self._withheld: list[tuple[Mail, bytes]] = []
        self._answer, self.provider.answer = self.provider.answer, self._answer_meanwhile  # type: ignore[method-assign] # in its place
        self.known: dict[str, Mail] = {}
        self._in_doubt: list[Mail] = []
        self._messages: list[QueuedMessage] = []
        # What lasts over several runs, and how many.
        self._lasting: Mishap = _NEVER
        self._lasts = 0
        self._connections = world.connections
        self._time_limit_s = 0.0
        self._message_limit = 0

    @property
    def _drop_directory(self) -> str:
        return f"{self.machine.directory}/drop"

    @property
    def may_go_wrong(self) -> bool:
        return self.runs < MISHAPS_UNTIL_RUN

    @property
    def told(self) -> str:
        return "\n    ".join((str(self.world), *self.mishaps))

    def was_killed_at(self, transaction: int) -> bool:
        """Return whether the run that sent this, by its number, was to be killed, or a process of it."""
        return next(is_killed for before, is_killed in reversed(self._lives) if before <= transaction)

    def _note(self, what: str) -> None:
        self.mishaps.append(f"before run {self.runs + 1}, at {self.age_s:.0f} s: {what}")
        self.last_mishap_s = self.age_s

    # What is submitted, dropped, and meddled with, before a run.

    def _accept(self) -> None:
        self._submit_withheld()
        for mail in self.world.mails:
            if self.world.later.get(mail.number, 0) == self.runs:
                self._submit(mail)
        self._look()
        self._meddle()
        self._look()

    def _submit(self, mail: Mail) -> None:
        content = b"From: %s\r\nTo: %s\r\nMessage-ID: %s\r\n\r\nhi\r\n" % (
            (mail.sender or "a@isp.example").encode(),
            ", ".join(mail.recipients).encode(),
            mail.message_id.encode(),
        )
        way = self.dice.random()
        if mail.sender and way < 0.3:
            self._drop(mail, content)
        elif way < 0.35:
            mishap = Signalled(self.dice.randint(1, 25))
            done = in_a_process(lambda: self._put(mail, content), mishap, below=self.machine.directory)
            if done.was_killed:
                self._note(f"the submission of {mail.message_id} was killed")
                self._in_doubt.append(mail)
            else:
                self.accepted[done.returned] = mail
        elif way < 0.5:
            self._withheld.append((mail, content))
        else:
            self.accepted[self._put(mail, content)] = mail

    def _drop(self, mail: Mail, content: bytes) -> None:
        path = Path(self._drop_directory, f"{mail.number}.eml")
        path.write_bytes(content)
        self.accepted[path.name] = mail

    def _put(self, mail: Mail, content: bytes) -> str:
        return put(
            self.machine.directory,
            *mail.recipients,
            now=self.clock.now() + mail.number / 1e4,
            reverse_path=mail.sender,
            priority=self.world.priorities[mail.number],
            message=content,
        )

    def _prepare(self, raw: bytes, reverse_path: str | None = None, recipients: tuple[str, ...] = ()) -> Prepared:
        return prepare(
            raw, reverse_path=reverse_path, recipients=recipients, extract_recipients=not recipients,
            addresses=Addresses(), priority=None, now=self.clock.now(), hostname="app1.isp.example",
            unique=os.urandom(12).hex(), max_size=1 << 20,
        )  # fmt: skip

    def _look(self) -> None:
        """Learn which queue id is which message's; one whose submission was killed may be there, or not."""
        self._messages = self.machine.queue()
        for message in self._messages:
            mail = self.by_id.get(message.message_id)
            if mail is not None:
                self.known[message.queue_id] = mail
                if mail in self._in_doubt:
                    self.accepted[message.queue_id] = mail
                    self._in_doubt.remove(mail)

    def _meddle(self) -> None:
        if self.runs == MISHAPS_UNTIL_RUN:
            self._change("released", release, [one for one in self._messages if one.state == "held"])
            return
        if not self.may_go_wrong or self.dice.random() > 0.25 or not self._messages:
            return
        chosen = self.dice.sample(self._messages, min(len(self._messages), self.dice.randint(1, 4)))
        name, change = self.dice.choice(
            (("held", hold), ("released", release), ("retried", retry), ("removed", remove))
        )
        self._change(name, change, [one for one in chosen if one.queue_id in self.known])

    def _change(
        self, name: str, change: Callable[[str, list[str]], Iterator[Change]], messages: list[QueuedMessage]
    ) -> None:
        ids = [message.queue_id for message in messages]
        if not ids:
            return
        if change is release:
            self._no_more_held(ids)
        mishap: Mishap = (
            Signalled(self.dice.randint(1, 60)) if self.dice.random() < 0.3 and self.may_go_wrong else _NEVER
        )
        done = in_a_process(lambda: list(change(self.machine.directory, ids)), mishap, below=self.machine.directory)
        killed = ", and that was killed" if done.was_killed else ""
        self._note(f"{', '.join(ids)} {name}{killed}")
        if change is remove:
            taken = len(self.provider.accepted)
            left = {message.queue_id for message in self.machine.queue()}
            self.removed |= {self.known[one].message_id: taken for one in ids if one not in left}
        elif done.was_killed and change is release:
            list(release(self.machine.directory, ids))

    def _no_more_held(self, ids: Collection[str]) -> None:
        taken = len(self.provider.accepted)
        self.held += [(self.known[one].message_id, self._held.pop(one), taken) for one in ids if one in self._held]

    # A run.

    def _answer_meanwhile(self, dialogue: Dialogue, place: str, line: bytes) -> Said | None:
        """Answer as the provider does; at one command of some runs a person comes, and an application."""
        with self._lock:
            self._comes_in -= 1
            if self._comes_in == 0:
                self._come()
        return self._answer(dialogue, place, line)

    def _come(self) -> None:
        """Submit something, and change something in the queue, while a run is at work."""
        self._submit_withheld()
        messages = [one for one in self._messages if one.queue_id in self.known]
        chosen = [one.queue_id for one in self.dice.sample(messages, min(len(messages), self.dice.randint(1, 6)))]
        change = self.dice.choice((hold, release, retry, remove))
        if change is release:
            self._no_more_held(chosen)
        changes = list(change(self.machine.directory, chosen))
        taken = len(self.provider.accepted)
        for one in changes:
            if not one.trouble and change is remove:
                self.removed[self.known[one.queue_id].message_id] = taken
            elif one.after == "held":
                self._held[one.queue_id] = taken
        told = ", ".join(f"{one.queue_id} {one.trouble or one.after or 'gone'}" for one in changes)
        self._note(f"meanwhile {change.__name__}: {told}")

    def _submit_withheld(self) -> None:
        while self._withheld:
            mail, content = self._withheld.pop()
            self.accepted[self._put(mail, content)] = mail

    def _flush(self, server: SmtpServer) -> RunReport:
        mishap = self._mishap()
        is_killed = any(
            isinstance(one, Signalled) and one.number == signal.SIGKILL
            for one in (mishap.each if isinstance(mishap, Several) else (mishap,))
        )
        self._configure()
        self._lives.append((len(self.provider.accepted), is_killed))
        if mishap is not _NEVER:
            self._note(str(mishap))
        self._comes_in = (
            self.dice.randint(1, 4 + 4 * self._due) if self.may_go_wrong and self.dice.random() < 0.4 else 0
        )
        done = in_a_process(lambda: self._flush_in_its_process(server), mishap, below=self.machine.directory)
        self._comes_in = 0
        if done.was_killed or done.error is not None:
            self.mishaps.append(f"    so that it ended: {done.error or 'killed'}")
            self.met["killed" if done.was_killed else "failed"] += 1
            # It came to no report: what it doubted is in the queue.
            for message_id, states in self.queue().items():
                for state in states.values():
                    self.doubts[message_id, state.recipient] += state.uncertain
            if told := _IN_DOUBT.search(str(done.error)):
                doubted = self.known[told[1]]
                self.doubts.update((doubted.message_id, recipient) for recipient in doubted.recipients)
        self._look()
        return self._report_of(done)

    def _flush_in_its_process(self, server: SmtpServer) -> RunReport:
        # What is written to the pipe of a process is no other's.
        self.machine.stop.renew()
        self.machine.stop.on_signals()
        return super()._flush(server)

    def _mail_of(self, queue_id: str) -> Mail | None:
        return self.known.get(queue_id)

    def _report_of(self, done: Done) -> RunReport:
        if done.was_killed or done.error is not None:
            return RunReport(exit_code=75)
        report = done.returned
        assert isinstance(report, RunReport)
        return report

    def _configure(self) -> None:
        """Let a person have changed the configuration since the last run."""
        world, machine = self.world, self.machine
        is_limited = self.may_go_wrong and self.dice.random() < 0.2
        self._time_limit_s = self.dice.choice((0.1, 0.5)) if is_limited else 0.0
        self._message_limit = self.dice.choice((0, 3)) if is_limited else 0
        if not self.may_go_wrong:
            world.connections, machine.sync_each, machine.keep_sent_s = self._connections, False, 0.0
        elif self.dice.random() < 0.3:
            world.connections = self.dice.choice((1, 1, 2, 4, 8))
            machine.sync_each = self.dice.random() < 0.3
            machine.keep_sent_s = self.dice.choice((0.0, 0.0, 600.0, 7200.0))
            so = f"{world.connections} connections, sync_each {machine.sync_each}, keep_sent {machine.keep_sent_s} s"
            self.mishaps.append(f"    with {so}")

    def _options(self) -> Options:
        return replace(super()._options(), time_limit_s=self._time_limit_s, message_limit=self._message_limit)

    def _mishap(self) -> Mishap:
        """Return what happens in the next run: one thing, with one that lasts over several runs, or two, or nothing."""
        if not self.may_go_wrong:
            return _NEVER
        if self._lasts:
            self._lasts -= 1
        elif self.dice.random() < 0.15:
            self._lasts = self.dice.randint(0, 3)
            code = self.dice.choice((errno.EACCES, errno.EIO, errno.ENOSPC, errno.EROFS))
            self._lasting = self.dice.choice(
                (
                    ShutAway(0, self.dice.choice(_SHUT_NAMES), self.dice.choice(_SHUT_PLACES), code),
                    FewFiles(self.dice.randint(8, 70)),
                )
            )
        else:
            self._lasting = _NEVER
        each = [self._lasting, self._one_mishap()]
        if self.dice.random() < 0.15:
            each.append(self._refusal())
        each = [one for one in each if one is not _NEVER]
        return each[0] if len(each) == 1 else Several(0, tuple(each)) if each else _NEVER

    def _one_mishap(self) -> Mishap:
        draw = self.dice.random()
        if draw < 0.2:
            return _NEVER
        if draw < 0.75:
            number = signal.SIGKILL if draw < 0.65 else signal.SIGTERM
            return Signalled(self.dice.randint(1, _CALLS + _CALLS_A_MESSAGE * self._due), number)
        return self._refusal()

    @property
    def _due(self) -> int:
        is_due = sum(message.state == "waiting" for message in self._messages)
        return is_due + len(os.listdir(self._drop_directory))

    def _refusal(self) -> Mishap:
        name = self.dice.choice(sorted(REFUSALS))
        code = self.dice.choice(REFUSALS[name])
        at = self.dice.randint(1, self.dice.choice((3, 3 + 2 * self._due)))
        return Refused(at, name, code, code in _LASTING and self.dice.random() < 0.5)

    def queue(self) -> dict[str, dict[str, RecipientState]]:
        return {
            message.message_id: {one.recipient: one for one in message.delivery.recipients}
            for message in self.machine.queue()
            if message.message_id in self.by_id
        }

    @property
    def dropped(self) -> Collection[str]:
        """The Message-IDs of what lies in the drop directory, or was taken from it and is not queued yet."""
        places = (Path(self.machine.directory, place) for place in ("drop", "tmp"))
        found = [path for place in places for path in place.iterdir() if path.is_file()]
        return {mail.message_id for path in found for mail in self.world.mails if mail.message_id in path.read_text()}

    @property
    def _is_waiting(self) -> bool:
        return self.runs <= MISHAPS_UNTIL_RUN or bool(self.dropped or self._withheld) or super()._is_waiting

    def _wait(self) -> None:
        now = self.clock.now()
        if self.may_go_wrong:
            account = load_account(self.machine.directory + "/account.json", owner=os.geteuid())
            opens_at = account.not_before if account.failures else 0.0
            waits_s = self.dice.choice((60.0, 60.0, 300.0, 1800.0))
            self.clock.offset += max(waits_s, min(opens_at - now + SLACK_S, 3600.0))
        else:
            super()._wait()
