"""``make bench``: how fast, as ratios within one run on one machine; absolute figures are only there to make them.

    flush      5,000 messages of 5 KB from the spool to Postfix's smtp-sink, against smtplib with one connection and
               no records: wall time and CPU time of the sending process
    peers      the same to the same sink, and one submission each: Postfix, nullmailer, msmtp's queue, dma, from Debian
    link       200 messages through a link with a round trip of 20, 50 and 100 ms, one connection and four, against smtplib
    queue      the first message, the first 1,000, ``status``, ``queue list`` and one submission more as the queue grows
               (--largest 1000000)
    dns        ``check-dns`` of one domain and of fifty, with a name server that answers after 20 ms
    start      ``--help``, ``status``, ``flush`` on an empty queue, and a durable submission, against
               ``python -c pass`` of the same interpreter

Commands are run in turn (A B A B ...), and the median is shown. The figures reached are in README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio

from tests.bench import dns, flush, link, peers, queue, start

EVERYTHING = ["flush", "peers", "link", "queue", "start", "dns"]


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description="Figures of ucrmmail as ratios in one run.")
    parser.add_argument("what", nargs="*", default=EVERYTHING, help=", ".join(EVERYTHING))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--largest", type=int, default=100_000, help="the largest queue")
    arguments = parser.parse_args()
    if "flush" in arguments.what:
        flush.bench_flush(arguments.rounds, arguments.messages)
    if "peers" in arguments.what:
        peers.bench_peers(min(arguments.rounds, 3), arguments.messages)
    if "link" in arguments.what:
        for round_trip_ms in (20, 50, 100):
            link.bench_link(min(arguments.rounds, 3), round_trip_ms)
    if "queue" in arguments.what:
        queue.bench_queue(arguments.largest)
    if "start" in arguments.what:
        start.bench_start(max(arguments.rounds, 15))
    if "dns" in arguments.what:
        asyncio.run(dns.bench_dns(arguments.rounds))


if __name__ == "__main__":
    main()
