"""The spool between real processes: locks, many at once, system calls as the kernel sees them, disks that are full."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import BIN, Program
from tests.support.sink import Sink
from tests.support.smtp_server import SmtpServer
from tests.support.spools import MESSAGE, NOW, claim, content, everything_in, new_spool, put
from ucrmmail.errors import TemporaryError
from ucrmmail.spool.queue import Spool


def children(count: int, work: Callable[[int], list[str]]) -> list[list[str]]:
    """Run ``work(number)`` in so many processes that start together; return what each of them found."""
    start, go = os.pipe()
    pipes = []
    for number in range(count):
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                os.close(go)
                os.read(start, 1)
                os.write(writer, "\n".join(work(number)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        pipes.append(reader)
    os.close(go)
    os.close(start)
    found = []
    for reader in pipes:
        with open(reader, encoding="utf-8") as said:
            found.append(said.read().split())
    for _ in range(count):
        os.wait()
    return found


@pytest.mark.requirement("R23")
def test_fifty_submissions_at_once_are_all_accepted(tmp_path: Path) -> None:
    directory = str(tmp_path / "var" / "spool")
    accepted = [ids for (ids,) in children(50, lambda _: [put(directory, now=NOW)])]
    assert len(set(accepted)) == 50
    assert sorted(Spool(directory).due()) == sorted(accepted)
    assert len(everything_in(directory)) == 50


def test_submissions_while_a_flush_removes_buckets_are_all_accepted(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)

    def work(number: int) -> list[str]:
        if number:
            return [put(directory, now=NOW + each % 3) for each in range(40)]
        for _ in range(2000):
            for bucket in os.listdir(f"{directory}/queue"):
                try:
                    os.rmdir(f"{directory}/queue/{bucket}")
                except OSError:
                    continue
        return []

    accepted = [queue_id for ids in children(4, work) for queue_id in ids]
    assert len(accepted) == 120
    assert sorted(Spool(directory).due()) == sorted(accepted)


@pytest.mark.requirement("R23")
def test_each_message_is_claimed_by_one_process(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    ids = [put(directory, now=NOW + number) for number in range(60)]

    def work(number: int) -> list[str]:
        spool = Spool(directory)
        order = ids if number % 2 else ids[::-1]
        claimed = [spool.claim(queue_id) for queue_id in order]
        # Nothing is let go of before all have tried all.
        time.sleep(0.5)
        return [each.queue_id for each in claimed if each is not None]

    claimed = [queue_id for found in children(4, work) for queue_id in found]
    assert sorted(claimed) == ids


@pytest.mark.requirement("S17")
def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id = put(directory)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        claimed = Spool(directory).claim(queue_id)
        os.write(writer, b"claimed" if claimed else b"nothing")
        signal.pause()
        os._exit(0)
    assert os.read(reader, 10) == b"claimed"
    spool = Spool(directory)
    assert spool.claim(queue_id) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert content(claim(spool, queue_id)) == MESSAGE
    os.close(reader)
    os.close(writer)


def in_a_child(code: str, *arguments: str) -> str:
    """Run code in an interpreter of its own and return what it printed."""
    prelude = """
        import os, sys, resource
        from ucrmmail.errors import TemporaryError
        from ucrmmail.spool.queue import Spool
        from tests.support.spools import *
        directory = sys.argv[1]
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.requirement("R13")
def test_a_message_of_50_mib_needs_no_memory(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    size = 50 << 20
    put(directory, message=b"x" * size)
    said = in_a_child(
        """
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spool = Spool(directory)
        claimed = claim(spool, next(spool.due()))
        sizes = [len(chunk) for chunk in claimed.chunks()]
        spool.settle(claimed, after(claimed.state, "relayed"))
        spool.finish()
        print(sum(sizes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """,
        directory,
    )
    sent, grown_kib = map(int, said.split())
    assert sent == size
    assert grown_kib < 4096


@pytest.mark.requirement("R6", "R26")
def test_a_file_that_may_not_grow_is_no_accepted_message(tmp_path: Path) -> None:
    """A real refusal by the kernel, after part of the message was written."""
    directory = new_spool(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TemporaryError, match="File too large"):
            put(directory, message=b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything_in(directory) == []


def may_mount() -> bool:
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.requirement("R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_full_disk_is_drained_and_accepts_again(tmp_path: Path) -> None:
    """Fill a small disk with messages, then send from it: what is relayed makes room, nothing is lost or repeated."""
    script = """
        import os, subprocess, sys
        from pathlib import Path
        from tests.support.spools import *
        from ucrmmail.errors import TemporaryError
        directory = new_spool(Path(sys.argv[1]))
        accepted = []
        spool = Spool(directory, clock=StillClock())
        first = put(directory)
        spool.ensure_room(claim(spool, first))
        try:
            while True:
                accepted.append(put(directory, now=NOW + len(accepted), message=b"x" * 20_000))
        except TemporaryError as error:
            assert "free" in error.what or "No space" in error.what, error.what
        filler = os.open(sys.argv[1] + "/filler", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(filler, b"x" * 512)
        except OSError:
            pass
        assert len([path for path in everything_in(directory) if path.startswith("queue")]) == 1 + len(accepted)
        assert not [path for path in everything_in(directory) if path.startswith("tmp")]
        results = []
        for number, queue_id in enumerate(list(spool.due())):
            claimed = spool.claim(queue_id)
            if claimed is None:
                continue
            assert b"".join(claimed.chunks()) == b"x" * 20_000
            deferred = number % 2
            spool.ensure_room(claimed)
            spool.settle(claimed, after(claimed.state, "deferred" if deferred else "relayed", next_attempt_at=NOW + 60 if deferred else 0.0))
            results.append((queue_id, deferred))
            spool.sync()
        spool.finish()
        assert [queue_id for queue_id, _ in results] == accepted
        again = Spool(directory, clock=StillClock())
        again.recover(NOW)
        for queue_id, deferred in results:
            assert place_of(directory, queue_id) == ("deferred" if deferred else ""), queue_id
        put(directory, message=b"x" * 20_000)
        print("drained", len(results))
    """
    code = textwrap.dedent(script)
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=1500k,mode=700 none "$1"; exec "$2" -c "$3" "$1"', "sh",
         str(tmp_path), sys.executable, code],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("drained")


@pytest.mark.requirement("R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_full_disk_is_drained_over_more_connections_than_it_has_room_for(tmp_path: Path) -> None:
    """The first that found no room for what becomes of its message ended the run for those that had it, too."""
    script = """
        import os, sys
        from pathlib import Path
        from tests.campaign.machine import Machine
        from tests.support.flushes import mail, run, taken
        from tests.support.smtp_server import SmtpServer, Wait
        machine = Machine(Path(sys.argv[1]))
        with SmtpServer(faults={"final-dot": [Wait(0.05)] * 99}) as server:
            mail(machine, "first@example.com")
            run(machine, server)
            for number in range(40):
                mail(machine, *(f"user{number}-{each}@example.com" for each in range(20)))
            filler = os.open(sys.argv[1] + "/filler", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(filler, b"x" * 512)
            except OSError:
                pass
            report = run(machine, server, connections=14)
            assert (report.relayed, report.exit_code, report.needs_person) == (40, 0, ()), report
            assert len(taken(server)) == 801
        print("drained")
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=4m,mode=700 none "$1"; exec "$2" -c "$3" "$1"', "sh",
         str(tmp_path), sys.executable, textwrap.dedent(script)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (0, "drained\n"), run.stderr


@pytest.mark.requirement("R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_flush_sends_from_a_disk_that_takes_no_more_mail_and_stops_before_the_dot_on_one_that_is_full(
    program: Program, sink: Sink
) -> None:
    program.configure(sink.port, spool='min_free_space = "1MB"')
    # The first run outside of the small disk compiles what it imports.
    program.run("flush")
    program.spool.rename(program.home / "unused")
    program.spool.mkdir(mode=0o700)
    script = """
        import os, subprocess, sys
        spool, *command = sys.argv[1:]
        mail = b"To: joe@example.com\\n\\n" + b"x" * 20_000
        def run(*arguments):
            done = subprocess.run([*command, *arguments], input=mail, capture_output=True)
            assert b"Traceback" not in done.stderr, done.stderr
            return done.returncode
        def fill(leave):
            found = os.statvfs(spool)
            with open(spool + "/filler", "ab") as filler:
                filler.write(b"x" * max(0, found.f_bavail * found.f_frsize - leave))
        assert [run("enqueue", "-") for _ in range(4)] == [0, 0, 0, 0]
        fill(700_000)
        print("no more mail:", run("enqueue", "-"), run("flush", "--message-limit", "2"))
        fill(0)
        os.truncate(spool + "/reserve", 0)
        fill(0)
        print("full, and nothing held for it:", run("enqueue", "-"), run("flush"))
        os.unlink(spool + "/filler")
        print("room again:", run("enqueue", "-"), run("flush"))
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=3m,mode=700 none "$1"; exec "$2" -c "$3" "$1" "$4"', "sh",
         str(program.spool), sys.executable, textwrap.dedent(script), str(BIN / "ucrmmail")],
        capture_output=True, text=True, env=program.env, cwd=program.home, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["no more mail: 75 0", "full, and nothing held for it: 75 75", "room again: 0 0"]
    # Two from the disk that takes no more, none from the full one, then the rest and the new one: each once.
    assert len(sink.messages) == 5
    assert len({message.content for message in sink.messages}) == 5


@pytest.mark.requirement("R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
@pytest.mark.parametrize("limits", ["", "message_limit = 1000"], ids=["unlimited", "limited"])
@pytest.mark.parametrize("first", ["flush", "enqueue", "sendmail"])
def test_a_flush_sends_all_from_a_full_disk_by_the_room_that_is_held_from_the_first(
    program: Program, sink: Sink, first: str, limits: str
) -> None:
    program.configure(sink.port, spool='min_free_space = "0"', throttler=limits)
    program.run("flush")
    program.spool.rename(program.home / "unused")
    program.spool.mkdir(mode=0o700)
    script = """
        import os, subprocess, sys
        spool, first, sendmail, *command = sys.argv[1:]
        mail = b"To: joe@example.com\\n\\nhi\\n"
        def run(*arguments):
            done = subprocess.run([*command, *arguments], input=mail, capture_output=True, text=False)
            return done.returncode, done.stderr.decode()
        def fill():
            with open(spool + "/filler", "ab", 0) as filler:
                try:
                    while True:
                        filler.write(b"x" * 512)
                except OSError:
                    pass
        if first == "flush":
            assert run("flush") == (0, "")
        elif first == "sendmail":
            assert subprocess.run([sendmail, "-t"], input=mail).returncode == 0
        else:
            assert run("enqueue", "-")[0] == 0
        assert [run("enqueue", "-")[0] for _ in range(20)] == [0] * 20
        fill()
        print(run("flush"))
        os.unlink(spool + "/filler")
        assert run("enqueue", "-")[0] == 0
        print(run("flush"), os.stat(spool + "/reserve").st_blocks > 0)
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=4m,mode=700 none "$1"; shift; exec "$@"', "sh",
         str(program.spool), sys.executable, "-c", textwrap.dedent(script), str(program.spool), first,
         str(BIN / "ucrmmail-sendmail"), str(BIN / "ucrmmail")],
        capture_output=True, text=True, env=program.env, cwd=program.home, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["(0, '')", "(0, '') True"]
    assert len(sink.messages) == 21 + (first != "flush")


@pytest.mark.requirement("R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_disk_that_can_hold_few_more_files_takes_no_mail_and_a_flush_sends_from_it(
    program: Program, sink: Sink
) -> None:
    sink.on_rcpt = lambda address: "450 4.2.0 later" if address == "late@example.com" else None
    program.configure(sink.port, spool='min_free_space = "0"', throttler="message_limit = 1000")
    program.run("flush")
    program.spool.rename(program.home / "unused")
    program.spool.mkdir(mode=0o700)
    script = """
        import subprocess, sys
        command = sys.argv[1:]
        def run(*arguments, to="joe"):
            mail = f"To: {to}@example.com\\n\\nhi\\n".encode()
            done = subprocess.run([*command, *arguments], input=mail, capture_output=True)
            return done.returncode, done.stderr.decode()
        assert run("enqueue", "-", to="late") == (0, "")
        accepted = 1
        while (refused := run("enqueue", "-"))[0] == 0:
            accepted += 1
        print(refused[0], "room for only 99 files" in refused[1], accepted)
        print(run("flush"))
        print(run("enqueue", "-"), run("flush"))
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec",
         'mount -t tmpfs -o size=4m,nr_inodes=140,mode=700 none "$1"; shift; exec "$@"', "sh",
         str(program.spool), sys.executable, "-c", textwrap.dedent(script), str(BIN / "ucrmmail")],
        capture_output=True, text=True, env=program.env, cwd=program.home, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    refused, *flushes = run.stdout.splitlines()
    code, why, accepted = refused.split()
    assert (code, why, int(accepted) > 10) == ("75", "True", True)
    assert flushes == ["(0, '')", "(0, '') (0, '')"]
    assert len(sink.messages) == int(accepted)


@pytest.mark.requirement("R25")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_file_is_renamed_from_one_file_system_to_another(program: Program, sink: Sink, tmp_path: Path) -> None:
    """The spool is on another one than home and the directory for temporary files, where the machine has a second."""
    sink.on_rcpt = {"bad@example.com": "550 5.1.1 no", "late@example.com": "450 4.2.1 later"}.get
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as elsewhere:
        program.spool = Path(elsewhere) / "spool"
        program.configure(sink.port)
        program.run("flush")
        traces: list[str] = []
        for arguments in (
            ("enqueue", "--to", "bad@example.com", "--to", "late@example.com", "-"),
            ("flush",),
            ("queue", "hold", "--all"),
            ("queue", "release", "--all"),
            ("queue", "retry", "--all"),
            ("flush",),
        ):
            if arguments == ("flush",):
                (program.spool / "drop" / f"{len(traces)}.eml").write_bytes(b"To: joe@example.com\n\nhi\n")
                (program.spool / "drop" / f"to-nobody-{len(traces)}.eml").write_bytes(b"Subject: x\n\nhi\n")
            trace = tmp_path / f"trace{len(traces)}"
            command = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=rename,renameat,renameat2,link,linkat"]
            subprocess.run(
                [*command, *program.command(*arguments)],
                input=b"Subject: x\n\nhi\n", env=program.env, cwd=program.home, capture_output=True, check=False,
            )  # fmt: skip
            traces.append(trace.read_text())
        devices = {os.stat(path).st_dev for path in (program.spool, *program.spool.iterdir())}
    renames = [line for trace in traces for line in trace.splitlines() if re.search(r"(rename|link)\w*\(", line)]
    assert len(renames) > 10
    assert not [line for line in renames if "EXDEV" in line]
    for line in renames:
        paths = re.findall(r'["<](/[^">]*)', line.replace(f"AT_FDCWD<{program.home}>", ""))
        assert paths, line
        assert all(path.startswith(str(program.spool)) for path in paths), line
    assert len(devices) == 1


def may_trace() -> bool:
    probe = ["strace", "-o", "/dev/null", "true"]
    return (
        shutil.which("strace") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.requirement("R3")
@pytest.mark.skipif(
    not may_trace(), reason="tracing is not permitted here; the order is tested in tests/unit/spool too"
)
@pytest.mark.parametrize(
    ("arguments", "says_id"), [(["ucrmmail-sendmail", "-t"], False), (["ucrmmail", "enqueue", "-"], True)]
)
def test_the_kernel_sees_the_syncs_before_the_yes(
    program: Program, tmp_path: Path, arguments: list[str], says_id: bool
) -> None:
    """In order: the file is written and synced, renamed into the queue, both directories synced, then the id or the end."""
    program.configure(25)
    trace = tmp_path / "trace"
    calls = "trace=openat,write,fsync,rename,renameat,renameat2,mkdir,exit_group"
    for _ in range(2):
        # The first submission makes the spool.
        subprocess.run(
            ["strace", "-f", "-y", "-o", str(trace), "-e", calls, str(BIN / arguments[0]), *arguments[1:]],
            input=b"From: a@b.example\nTo: joe@example.com\n\nhi\n",
            env=program.env,
            capture_output=True,
            timeout=60,
            check=True,
        )
    spool = re.escape(str(program.spool))
    queue_id = r"[012]-\d{8}T\d{6}\.\d{6}-[a-z0-9]{6}"
    steps = [
        rf"write\(\d+<{spool}/tmp/{queue_id}>, \"ucrmmail-queue 1",
        # Of a thread the trace may tell the end on a line of its own.
        rf"fsync\(\d+<{spool}/tmp/{queue_id}>(\) += 0| <unfinished)",
        rf"rename\w*\(.*{spool}/tmp/{queue_id}\", .*{queue_id}\".*\) = 0",
        rf"fsync\(\d+<{spool}/queue/[012]-\d{{8}}T\d{{4}}>\) += 0",
        rf"fsync\(\d+<{spool}/queue>\) += 0",
        rf"write\(1<.*>, \"{queue_id}\\n" if says_id else r"exit_group\(0\)",
    ]
    text = trace.read_text()
    at = 0
    for step in steps:
        found = re.compile(step).search(text, at)
        assert found, f"{step} does not come next in\n{text[at:]}"
        at = found.end()


def test_a_thousand_files_are_enqueued_in_one_go(program: Program, tmp_path: Path) -> None:
    program.configure(25)
    for number in range(1000):
        (tmp_path / f"{number:04}.eml").write_bytes(b"To: joe@example.com\n\n%d\n" % number)
    files = [str(tmp_path / f"{number:04}.eml") for number in range(1000)]
    run = program.run("enqueue", *files)
    assert len(run.lines) == 1000
    assert run.lines == sorted(run.lines)
    spool = Spool(str(program.spool))
    bodies = [content(claim(spool, queue_id)).split()[-1] for queue_id in run.lines[::100]]
    assert bodies == [b"%d" % number for number in range(0, 1000, 100)]


@pytest.mark.requirement("R8", "R26")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_report_that_finds_no_room_stops_no_other_message_and_comes_when_there_is(
    program: Program, sink: Sink
) -> None:
    program.configure(sink.port, spool='min_free_space = "1MB"')
    program.run("flush")
    program.spool.rename(program.home / "unused")
    program.spool.mkdir(mode=0o700)
    sink.on_data = lambda envelope: (
        "554 5.7.1 no"
        if b"Subject: wrong" in (envelope.original_content or b"") and "joe@example.com" in envelope.rcpt_tos
        else None
    )
    script = """
        import os, subprocess, sys
        spool, *command = sys.argv[1:]
        def run(*arguments, subject="x"):
            mail = f"To: joe@example.com\\nSubject: {subject}\\n\\nhi\\n".encode()
            done = subprocess.run([*command, *arguments], input=mail, capture_output=True, text=False)
            print(*arguments, done.returncode, done.stderr.decode())
        for subject in ("wrong", "right", "right"):
            run("enqueue", "-", subject=subject)
        found = os.statvfs(spool)
        with open(spool + "/filler", "ab") as filler:
            filler.write(b"x" * (found.f_bavail * found.f_frsize - 700_000))
        run("flush")
        run("flush")
        os.unlink(spool + "/filler")
        run("flush")
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=3m,mode=700 none "$1"; exec "$2" -c "$3" "$1" "$4"', "sh",
         str(program.spool), sys.executable, textwrap.dedent(script), str(BIN / "ucrmmail")],
        capture_output=True, text=True, env=program.env, cwd=program.home, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert [message.recipients for message in sink.messages] == [["joe@example.com"]] * 2 + [["billing@isp.example"]]
    codes = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("flush")]
    assert codes == ["75", "75", "0"]
    # Once an hour, as all that each run meets until it is mended: cron mails it.
    assert run.stdout.count("failed: 554 5.7.1 no") == 1
    assert run.stdout.count("the report of that could not be queued, the next run tries again: ") == 1


@pytest.mark.requirement("R9", "R26", "S19")
@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested above")
def test_a_login_that_was_refused_is_not_tried_again_by_the_next_run_on_a_full_disk(program: Program) -> None:
    script = """
        import subprocess, sys
        spool, *command = sys.argv[1:]
        def run(*arguments):
            return subprocess.run([*command, *arguments], input=b"To: joe@example.com\\n\\nhi\\n", capture_output=True)
        assert run("enqueue", "-").returncode == 0
        with open(spool + "/filler", "wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 512)
            except OSError:
                pass
        for _ in range(3):
            done = run("flush")
            print(done.returncode, done.stderr.decode().partition("\\n")[0])
    """
    with SmtpServer(faults={"auth": "535 5.7.8 no"}) as server:
        program.configure(
            server.port,
            smtp='username = "me"\nallow_insecure_login = true',
            spool='min_free_space = "0"',
            credentials='source = "command"\ncommand = ["/bin/echo", "secret"]',
        )
        program.spool.mkdir(mode=0o700)
        run = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=4m,mode=700 none "$1"; shift; exec "$@"', "sh",
             str(program.spool), sys.executable, "-c", textwrap.dedent(script), str(program.spool),
             str(BIN / "ucrmmail")],
            capture_output=True, text=True, env=program.env, cwd=program.home, timeout=60, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        first, *others = run.stdout.splitlines()
        assert first.startswith("77 ucrmmail: ")
        assert others == ["75 ", "75 "]
        assert len(server.connections) == 1
