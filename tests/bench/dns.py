"""``check-dns`` with a name server that is slow to answer."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.nameserver import Responder, zone_behaviour
from tests.support.program import Program


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
