"""What others need for the same work, in the same run: Postfix, nullmailer, msmtp with its queue scripts, dma.

    relay       a queue of messages to the same smtp-sink: wall time, and CPU time of all processes of the program
                (control_group.py), from the order to send until the queue is empty; the sink has counted them all
    submission  ``sendmail < mail`` until it returns; Postfix, nullmailer, dma and ucrmmail have it on the disk then

Postfix has a configuration and a queue of its own. nullmailer and dma would turn Postfix out if they were installed,
and know only /etc and /var/spool: they are unpacked (``make bench``; PEERS names the directory), and laid over the
machine's files in a mount namespace that only this process and its children see.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.control_group import ControlGroup, control_group
from tests.bench.material import MESSAGE, SMTPLIB, Sink, free_port, smtp_sink, timed
from tests.support.postfix import Postfix, private_postfix
from tests.support.program import BIN, Program

SCRIPTS = Path("/usr/libexec/msmtp/msmtpqueue")
ENVELOPE = ["-f", "a@isp.example", "b@example.com"]
# Each of these starts a program a message: a tenth of the messages shows their rate as well.
SLOWER = 10


@dataclass(frozen=True)
class Scene:
    """What every peer gets: a directory, the sink, the group that counts, and the message in a file."""

    root: Path
    sink: Sink
    group: ControlGroup
    mail: Path

    def measure(
        self, order: Iterable[str], queues: Iterable[Path], pattern: str, env: dict[str, str], count: int
    ) -> Cost:
        """Give the order in the group, wait until nothing is left in the queues, and return what it took.

        The queues are looked at only when the sink has all: to list a directory is in the way of whoever changes it.
        """
        before = self.sink.messages()
        cpu, began = self.group.cpu_s(), time.perf_counter()
        with self.log.open("ab") as log:
            process = subprocess.Popen([*self.group.starter, *order], stdout=log, stderr=log, env=env)
        try:
            while self.sink.messages() - before < count and process.poll() in (None, 0):
                time.sleep(0.01)
            while any(True for queue in queues for _ in queue.glob(pattern)):
                time.sleep(0.01)
            return Cost(time.perf_counter() - began, self.group.cpu_s() - cpu)
        finally:
            process.terminate()
            process.wait()

    @property
    def log(self) -> Path:
        """What the programs said."""
        return self.root / "log"


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of the CPUs."""

    wall_s: float
    cpu_s: float


Relay = Callable[[Scene, int], Cost]


def relay_ucrmmail(connections: int, scene: Scene, count: int) -> Cost:
    program = Program(scene.root / "ucrmmail")
    program.configure(scene.sink.port, smtp=f"connections = {connections}")
    program.run("enqueue", *[str(scene.mail)] * count)
    return scene.measure(program.command("flush"), [program.spool / "queue"], "*/*", program.env, count)


def relay_smtplib(scene: Scene, count: int) -> Cost:
    cpu, began = scene.group.cpu_s(), time.perf_counter()
    order = [sys.executable, "-c", SMTPLIB, str(scene.sink.port), str(scene.mail), str(count)]
    subprocess.run([*scene.group.starter, *order], check=True)
    return Cost(time.perf_counter() - began, scene.group.cpu_s() - cpu)


def relay_postfix(connections: int, scene: Scene, count: int) -> Cost:
    """Fill the queue through smtpd, everything on hold; release it; then the queue manager is told to deliver."""
    settings = {
        "relayhost": f"[127.0.0.1]:{scene.sink.port}",
        "smtpd_client_restrictions": "static:hold",
        "smtp_destination_concurrency_limit": str(connections),
    }
    with private_postfix(free_port(), settings, scene.group.starter) as postfix:
        source = ["/usr/sbin/smtp-source", "-s", "10", "-m", str(count), "-f", "a@isp.example", "-t", "b@example.com"]
        subprocess.run([*source, "-F", str(scene.mail), f"127.0.0.1:{postfix.port}"], check=True)
        postfix.run("postsuper", "-H", "ALL")
        queues = [postfix.root / "queue" / name for name in ("deferred", "incoming", "active")]
        return scene.measure(postfix.command("postqueue", "-f"), queues, "**/[0-9A-F]?*", dict(os.environ), count)


def relay_nullmailer(scene: Scene, count: int) -> Cost:
    submit, spool = Overlaid.nullmailer, Path("/var/spool/nullmailer")
    for _ in range(count):
        subprocess.run([submit, *ENVELOPE], input=MESSAGE, check=True, stderr=subprocess.DEVNULL)
    return scene.measure(["/usr/sbin/nullmailer-send"], [spool / "queue"], "*", dict(os.environ), count)


def relay_dma(scene: Scene, count: int) -> Cost:
    for _ in range(count):
        subprocess.run(["/usr/sbin/dma", *ENVELOPE], input=MESSAGE, check=True)
    return scene.measure(["/usr/sbin/dma", "-q"], [Path("/var/spool/dma")], "[MQ]*", dict(os.environ), count)


def relay_msmtp(scene: Scene, count: int) -> Cost:
    """Write the queue as msmtp-enqueue.sh does, and run the queue script."""
    env = msmtp_home(scene)
    queue = Path(env["HOME"]) / ".msmtpqueue"
    for number in range(count):
        (queue / f"2026-11-24-00.00.00-{number}.mail").write_bytes(MESSAGE)
        (queue / f"2026-11-24-00.00.00-{number}.msmtp").write_text("-f a@isp.example -- b@example.com\n")
    return scene.measure([str(SCRIPTS / "msmtp-runqueue.sh")], [queue], "*.mail", env, count)


def msmtp_home(scene: Scene) -> dict[str, str]:
    home = scene.root / "msmtp"
    (home / ".msmtpqueue").mkdir(parents=True, exist_ok=True)
    settings = home / ".msmtprc"
    settings.write_text(f"account default\nhost 127.0.0.1\nport {scene.sink.port}\nfrom a@isp.example\n")
    settings.chmod(0o600)
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


class Overlaid:
    """nullmailer and dma, unpacked beside one another, over the machine's own files in this mount namespace."""

    nullmailer = ""

    @classmethod
    def mount(cls, unpacked: Path, scene: Scene) -> None:
        """Lay them over /usr, their settings over /etc, and their queues over /var/spool. Raises CalledProcessError."""
        etc, spool = scene.root / "etc", scene.root / "spool"
        (etc / "nullmailer").mkdir(parents=True)
        (etc / "dma").mkdir()
        (etc / "mailname").write_text("isp.example\n")
        (etc / "nullmailer" / "remotes").write_text(f"127.0.0.1 smtp --port={scene.sink.port}\n")
        # DEFER: a submission only queues, as the others do; `dma -q` delivers.
        (etc / "dma" / "dma.conf").write_text(
            f"SMARTHOST 127.0.0.1\nPORT {scene.sink.port}\nMAILNAME /etc/mailname\nDEFER\n"
        )
        spool.mkdir()
        for name in ("nullmailer", "dma"):
            subprocess.run(["cp", "-a", str(unpacked / name / "var" / "spool" / name), str(spool)], check=True)
        # What nullmailer's installation makes.
        os.mkfifo(spool / "nullmailer" / "trigger")
        shutil.chown(spool / "nullmailer" / "trigger", "mail")
        # Each brings a /usr/sbin/sendmail: the machine's own, Postfix's, stays.
        layers = ":".join(str(unpacked / name / "usr") for name in ("dma", "nullmailer"))
        for below, place in ((f"/usr:{layers}", "/usr"), (f"{etc}:/etc", "/etc")):
            options = f"ro,lowerdir={below}"
            subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", place], check=True)
        subprocess.run(["mount", "--bind", str(spool), "/var/spool"], check=True)
        cls.nullmailer = str(unpacked / "nullmailer" / "usr" / "sbin" / "sendmail")


def bench_peers(rounds: int, count: int) -> None:
    """Run the comparison in a mount namespace of its own."""
    if os.geteuid() != 0:
        print("peers: left out: Postfix's master and mount namespaces are for root")
        return
    private = ["unshare", "--mount", "--propagation", "private"]
    subprocess.run([*private, sys.executable, "-m", "tests.bench.peers", str(rounds), str(count)], check=True)


def compare(rounds: int, count: int) -> None:
    """Measure everyone in turn, and print the medians."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ucrmmail-bench-")))
        mail = root / "mail.eml"
        mail.write_bytes(MESSAGE)
        scene = Scene(root, stack.enter_context(smtp_sink(count=True)), stack.enter_context(control_group()), mail)
        present = available(scene)
        if len(present & {"nullmailer", "dma"}) == 2:
            Overlaid.mount(Path(os.environ["PEERS"]).resolve(), scene)
        compare_relays(scene, present, rounds, count)
        compare_submissions(scene, present, max(rounds, 15))


def available(scene: Scene) -> set[str]:
    """Return which peers can be run, and say of the others why they are left out."""
    unpacked = Path(os.environ.get("PEERS") or scene.root / "none")
    found = {
        "postfix": Path("/usr/sbin/postfix").exists(),
        "msmtp": shutil.which("msmtp") is not None and SCRIPTS.is_dir(),
        "nullmailer": (unpacked / "nullmailer").is_dir(),
        "dma": (unpacked / "dma").is_dir(),
    }
    for name in (name for name, is_there in found.items() if not is_there):
        print(f"peers: {name} is left out: it is not here (`make bench` gets it)")
    return {name for name, is_there in found.items() if is_there}


def compare_relays(scene: Scene, present: set[str], rounds: int, count: int) -> None:
    few = max(1, count // SLOWER)
    peers: dict[str, tuple[str, Relay, int]] = {
        "ucrmmail flush, 1 connection": ("", partial(relay_ucrmmail, 1), count),
        "ucrmmail flush, 4 connections": ("", partial(relay_ucrmmail, 4), count),
        "postfix, 20 connections": ("postfix", partial(relay_postfix, 20), count),
        "postfix, 1 connection": ("postfix", partial(relay_postfix, 1), count),
        "smtplib, 1 connection": ("", relay_smtplib, count),
        "dma -q": ("dma", relay_dma, few),
        "nullmailer-send": ("nullmailer", relay_nullmailer, few),
        "msmtp-runqueue.sh": ("msmtp", relay_msmtp, few),
    }
    costs: dict[str, list[Cost]] = {}
    for _ in range(rounds):
        for name, (needs, relay, messages) in peers.items():
            if needs and needs not in present:
                continue
            before = scene.sink.messages()
            costs.setdefault(name, []).append(relay(scene, messages))
            if scene.sink.messages() - before != messages:
                print(scene.log.read_text(errors="replace")[-2000:], file=sys.stderr)
                sys.exit(f"{name}: the sink has {scene.sink.messages() - before} messages of {messages}")
    print(
        f"queue to sink, {count} messages of {len(MESSAGE)} bytes (programs a message: {few}), {rounds} rounds, medians"
    )
    base = None
    for name, each in costs.items():
        messages = peers[name][2]
        rate = messages / statistics.median(cost.wall_s for cost in each)
        cpu_us = statistics.median(cost.cpu_s for cost in each) / messages * 1e6
        base = base or (rate, cpu_us)
        print(
            f"  {name:30} {rate:6.0f} messages/s {cpu_us:7.0f} us CPU a message;"
            f" ours: {base[0] / rate:6.2f} x the rate, {base[1] / cpu_us:5.2f} x the CPU"
        )


def compare_submissions(scene: Scene, present: set[str], rounds: int) -> None:
    with ExitStack() as stack:
        program = Program(scene.root / "submissions")
        program.configure(scene.sink.port)
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "ucrmmail-sendmail": ([str(BIN / "ucrmmail-sendmail"), "-i", *ENVELOPE], program.env),
            "python -S -c pass": ([sys.executable, "-S", "-c", "pass"], program.env),
        }
        if "postfix" in present:
            postfix: Postfix = stack.enter_context(private_postfix(free_port(), {"defer_transports": "smtp"}))
            commands["postfix sendmail"] = (
                ["/usr/sbin/sendmail", "-C", str(postfix.root / "conf"), "-i", *ENVELOPE],
                dict(os.environ),
            )
        if "nullmailer" in present:
            commands["nullmailer sendmail"] = ([Overlaid.nullmailer, "-i", *ENVELOPE], dict(os.environ))
        if "dma" in present:
            commands["dma"] = (["/usr/sbin/dma", "-i", *ENVELOPE], dict(os.environ))
        if "msmtp" in present:
            commands["msmtp-enqueue.sh (no fsync)"] = (
                [str(SCRIPTS / "msmtp-enqueue.sh"), "-f", "a@isp.example", "--", "b@example.com"],
                msmtp_home(scene),
            )
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (command, env) in commands.items():
                with scene.mail.open("rb") as stdin:
                    wall, _ = timed(command, env=env, stdin=stdin, stderr=subprocess.DEVNULL)
                times[name].append(wall * 1000)
    print(f"one submission, until it returns, {rounds} rounds, medians")
    base = statistics.median(times["ucrmmail-sendmail"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:30} {median:6.1f} ms; ours: {base / median:5.2f} x the time")


if __name__ == "__main__":
    compare(int(sys.argv[1]), int(sys.argv[2]))
