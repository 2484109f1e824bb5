"""``make bench``: how fast, as ratios within one run on one machine; absolute figures are only there to make them.

    flush      5,000 messages of 5 KB from the spool to Postfix's smtp-sink, against smtplib with one connection and
               no records: wall time and CPU time of the sending process
    link       200 messages through a link with a round trip of 50 ms, one connection and four, against smtplib
    queue      the first message, the first 1,000, ``status`` and ``queue list`` as the queue grows (--largest 1000000)
    dns        ``check-dns`` of one domain and of fifty, with a name server that answers after 20 ms
    start-up   ``--help``, ``status``, ``flush`` on an empty queue, and a durable submission, against
               ``python -c pass`` of the same interpreter

Commands are run in turn (A B A B ...), and the median is shown. The figures reached are in README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.nameserver import Responder, zone_behaviour
from tests.support.program import BIN, Program
from ucrmmail.spool.layout import new_queue_id, path_in_queue
from ucrmmail.spool.queuefile import encode_head

EVERYTHING = ["flush", "link", "queue", "start", "dns"]
BODY = b"".join(b"%078d\r\n" % number for number in range(59))
MESSAGE = b"From: a@isp.example\r\nTo: b@example.com\r\nSubject: bench\r\n\r\n" + BODY
SMALL = MESSAGE[:300] + b"\r\n"

SMTPLIB = """
import smtplib, sys
message = open(sys.argv[2], 'rb').read()
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as server:
    for _ in range(int(sys.argv[3])):
        server.sendmail('a@isp.example', ['b@example.com'], message)
"""


@contextlib.contextmanager
def smtp_sink() -> Iterator[int]:
    """Run Postfix's smtp-sink on a free port of loopback."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/lib/postfix/sbin:" + os.environ["PATH"])
    if program is None:
        sys.exit("smtp-sink is missing: apt-get install postfix")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # smtp-sink gives up root's rights only when told to whom.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *user, f"127.0.0.1:{port}", "512"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def timed(command: list[str], **options: object) -> tuple[float, float]:
    """Run a command; return its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench_flush(rounds: int, count: int) -> None:
    """Compare the flush with smtplib, in turn."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as port:
        program = Program(Path(root) / "home")
        program.configure(port)
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        enqueued: list[float] = []
        for _ in range(rounds):
            wall, _cpu = timed(program.command("enqueue", *[str(mail)] * count), env=program.env)
            enqueued.append(count / wall)
            ours.append(timed(program.command("flush"), env=program.env))
            theirs.append(timed([sys.executable, "-c", SMTPLIB, str(port), str(mail), str(count)]))
            left = len(list((program.spool / "queue").glob("*/*")))
            if left:
                sys.exit(f"{left} messages were not sent")
    wall, cpu = (statistics.median(run[n] for run in ours) for n in (0, 1))
    wall_peer, cpu_peer = (statistics.median(run[n] for run in theirs) for n in (0, 1))
    print(f"flush of {count} messages of {len(MESSAGE)} bytes, one connection, {rounds} rounds, medians")
    print(
        f"  ucrmmail flush  {count / wall:7.0f} messages/s  {cpu / count * 1e6:5.0f} us CPU a message (start-up included)"
    )
    print(f"  smtplib         {count / wall_peer:7.0f} messages/s  {cpu_peer / count * 1e6:5.0f} us CPU a message")
    print(f"  ratio           {wall_peer / wall:7.2f} x the rate    {cpu / cpu_peer:5.2f} x the CPU")
    print(f"  enqueue         {statistics.median(enqueued):7.0f} messages/s, durable, one command (start-up included)")


@contextlib.contextmanager
def long_link(port: int, round_trip_ms: int) -> Iterator[int]:
    """Run a relay to ``port`` that is slow to answer, and yield its own port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.delay", str(port), str(round_trip_ms)], stdout=subprocess.PIPE
    )
    try:
        yield int((process.stdout or sys.stdin.buffer).readline())
    finally:
        process.terminate()
        process.wait()


def bench_link(rounds: int, count: int = 200, round_trip_ms: int = 50) -> None:
    """Compare one connection, four, and smtplib on a long line."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as sink:
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        with long_link(sink, round_trip_ms) as port:
            for _ in range(min(rounds, 3)):
                for connections in (1, 4):
                    program = Program(Path(root) / f"home{connections}")
                    program.configure(port, smtp=f"connections = {connections}")
                    program.run("enqueue", *[str(mail)] * count)
                    wall, _ = timed(program.command("flush"), env=program.env)
                    seconds.setdefault(f"ucrmmail flush, {connections}", []).append(wall)
                peer, _ = timed([sys.executable, "-c", SMTPLIB, str(port), str(mail), str(count)])
                seconds.setdefault("smtplib, 1", []).append(peer)
    print(f"{count} messages through a link with a round trip of {round_trip_ms} ms, start-up included, medians")
    for name, values in seconds.items():
        median = statistics.median(values)
        trips = median * 1000 / round_trip_ms / count
        print(f"  {name:18} {count / median:6.1f} messages/s  {trips:5.2f} round trips a message")


def fill(spool: Path, count: int) -> None:
    """Put so many messages into the queue as ``enqueue`` would have, a quarter of an hour long, without its syncs."""
    head = encode_head("a@isp.example", ["b@example.com"], SMALL, eight_bit=False, utf8=False)
    began = time.time() - 900
    made: set[str] = set()
    for number in range(count):
        path = path_in_queue(str(spool), new_queue_id(began + 900 * number / count, "normal"))
        directory = os.path.dirname(path)
        if directory not in made:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            made.add(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, head + SMALL)
        os.close(fd)


def bench_queue(largest: int) -> None:
    """Show what grows with the queue, which should be nothing but the count itself."""
    print("a queue that grows, one run each: seconds, and resident memory of the flush")
    print("  messages   first one   first 1,000   memory   status   queue list")
    size = 1000
    while size <= largest:
        with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as port:
            program = Program(Path(root) / "home")
            program.configure(port)
            program.run("flush")
            program.sendmail("-t")  # makes the spool
            fill(program.spool, size)
            run = program.command("flush", "--message-limit")
            first, _ = timed([*run, "1"], env=program.env)
            process = subprocess.Popen([*run, "1000"], env=program.env)
            began = time.perf_counter()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            thousand = time.perf_counter() - began
            status, _ = timed(program.command("status"), env=program.env)
            listed, _ = timed(program.command("queue", "list"), env=program.env)
        memory = usage.ru_maxrss / 1024
        print(f"  {size:9,} {first:10.2f} {thousand:13.2f} {memory:7.0f}M {status:8.2f} {listed:12.2f}")
        size *= 10


def bench_start(rounds: int) -> None:
    """Compare the start of our commands with the bare interpreter, in turn."""
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root:
        program = Program(Path(root) / "home")
        program.configure(25)
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        program.run("flush")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -S -c pass": [sys.executable, "-S", "-c", "pass"],
            "flush, empty queue": program.command("flush"),
            "--help": program.command("--help"),
            "config get smtp.host": program.command("config", "get", "smtp.host"),
            "status": program.command("status"),
            "ucrmmail-sendmail -t": [str(BIN / "ucrmmail-sendmail"), "-t", "-i"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                with mail.open("rb") as stdin:
                    times[name].append(timed(command, env=program.env, stdin=stdin)[0] * 1000)
                for queued in (program.spool / "queue").glob("*/*"):
                    queued.unlink()
                for bucket in (program.spool / "queue").glob("*"):
                    bucket.rmdir()
    base = statistics.median(times["python -c pass"])
    print(f"start-up, {rounds} rounds, medians")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:22} {median:6.1f} ms  {median / base:5.2f} x pass  {median - base:+6.1f} ms")


def dns_zone(domains: int) -> dict[tuple[str, str], object]:
    """Return domains that share a provider, with all that a well kept domain has."""
    zone: dict[tuple[str, str], object] = {
        ("_spf.provider.example", "TXT"): "v=spf1 include:a.provider.example ip4:192.0.2.0/24 ~all",
        ("a.provider.example", "TXT"): "v=spf1 ip4:198.51.100.0/24 ~all",
        ("mx.provider.example", "A"): "192.0.2.9",
        ("ns.provider.example", "A"): "192.0.2.8",
        ("ns2.provider.example", "A"): "198.51.100.8",
    }
    for number in range(domains):
        name = f"d{number}.example"
        zone[(name, "TXT")] = "v=spf1 include:_spf.provider.example -all"
        zone[(name, "A")] = "192.0.2.1"
        zone[(name, "MX")] = (10, "mx.provider.example")
        zone[(name, "SOA")] = ("ns.provider.example", "admin.provider.example", 1, 7200, 900, 1209600, 3600)
        zone[(name, "NS")] = ["ns.provider.example", "ns2.provider.example"]
        zone[(f"_dmarc.{name}", "TXT")] = f"v=DMARC1; p=reject; rua=mailto:dmarc@{name}"
    return zone


async def timed_process(command: list[str], env: dict[str, str]) -> float:
    """Run a command beside the server that this event loop runs, and return the seconds it took."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.DEVNULL)
    await process.wait()
    return time.perf_counter() - began


async def bench_dns(rounds: int) -> None:
    """Check one domain and fifty, every answer 20 ms late; checkdmarc in the same run where it is installed.

    checkdmarc asks port 53 only, so that the server stands at an address of its own; it takes its own virtual
    environment, since it needs other releases of what we use: CHECKDMARC names the program.
    """
    peer = os.environ.get("CHECKDMARC", "")
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root:
        program = Program(Path(root) / "home")
        program.configure(25)
        responder = Responder(zone_behaviour(dns_zone(50)), delay_s=0.02, address="127.0.0.73", port=53)
        async with responder as server:
            print("check-dns, answers after 20 ms, start-up included, medians")
            for count in (1, 50):
                names = [f"d{number}.example" for number in range(count)]
                commands = {"ucrmmail": program.command("check-dns", *names, "--json", "--nameserver", server.host)}
                if peer:
                    commands["checkdmarc"] = [peer, "-n", server.host, "--", *names]
                seconds: dict[str, list[float]] = {}
                asked: dict[str, list[int]] = {}
                for _ in range(rounds):
                    for name, command in commands.items():
                        responder.queries.clear()
                        seconds.setdefault(name, []).append(await timed_process(command, program.env))
                        asked.setdefault(name, []).append(len(responder.queries))
                        if name == "ucrmmail":
                            different = {(q.question[0].name, q.question[0].rdtype) for q, _ in responder.queries}
                            again = len(responder.queries) - len(different)
                for name, figures in seconds.items():
                    note = f", {again} asked again, {responder.most_at_once} in flight" if name == "ucrmmail" else ""
                    median, queries = statistics.median(figures), statistics.median(asked[name])
                    print(f"  {count:3} domains  {name:11} {median:6.2f} s  {queries:5.0f} queries{note}")


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description="Figures of ucrmmail as ratios in one run.")
    parser.add_argument("what", nargs="*", default=EVERYTHING, help=", ".join(EVERYTHING))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--largest", type=int, default=100_000, help="the largest queue")
    arguments = parser.parse_args()
    if "flush" in arguments.what:
        bench_flush(arguments.rounds, arguments.messages)
    if "link" in arguments.what:
        bench_link(arguments.rounds)
    if "queue" in arguments.what:
        bench_queue(arguments.largest)
    if "start" in arguments.what:
        bench_start(max(arguments.rounds, 15))
    if "dns" in arguments.what:
        asyncio.run(bench_dns(arguments.rounds))


if __name__ == "__main__":
    main()
