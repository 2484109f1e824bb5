"""End to end against Postfix from Debian as the smarthost: it takes the message, queues it, and its queue id is told."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import PLAIN, Program

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = smarthost.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
maillog_file = {root}/log/maillog
maillog_file_prefixes = {root}
defer_transports = smtp
smtpd_recipient_restrictions = check_recipient_access inline:{{bad@example.com=reject}}, permit_mynetworks, reject
smtpd_recipient_limit = 50
alias_maps =
alias_database =
local_recipient_maps =
"""
SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
smtp unix - - n - - smtp
"""


@pytest.fixture
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    if os.geteuid() != 0:
        pytest.fail("Postfix starts as root only; run the tests as root")
    root = Path("/tmp") / f"ucrmmail-postfix-{os.getpid()}"
    for name in ("conf", "queue", "data", "log"):
        (root / name).mkdir(parents=True)
    shutil.chown(root / "data", "postfix")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (root / "conf" / "main.cf").write_text(MAIN_CF.format(root=root))
    (root / "conf" / "master.cf").write_text(SERVICES.format(port=port))
    command = ["/usr/sbin/postfix", "-c", str(root / "conf")]
    subprocess.run([*command, "start"], check=True, capture_output=True)
    try:
        yield port, root
    finally:
        subprocess.run([*command, "stop"], check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize("chunking", [True, False])
def test_postfix_takes_what_is_flushed(program: Program, postfix: tuple[int, Path], chunking: bool) -> None:
    port, root = postfix
    program.configure(port, smtp=f"chunking = {str(chunking).lower()}")
    many = ", ".join(f"user{number}@example.com" for number in range(120))
    program.sendmail("-t")
    program.sendmail("-f", "app@isp.example", "good@example.com", "bad@example.com")
    program.sendmail("-t", message=PLAIN.replace(b"joe@example.com", many.encode()))
    program.sendmail("-t", message=PLAIN + b"x" * 5000 + b"\r\n.\r\n" + b"tail\r\n")
    report = program.run("flush", "--json").json
    outcomes = [outcome for message in report["messages"] for outcome in message["recipients"].items()]
    # Postfix counts the bytes for whoever counted them.
    taken = r"250 2.0.0 Ok: \d+ bytes queued as \w+" if chunking else r"250 2.0.0 Ok: queued as \w+"
    assert all(re.fullmatch(taken, result["reply"]) for name, result in outcomes if name[:3] != "bad")
    assert dict(outcomes)["bad@example.com"]["outcome"] == "failed"
    # A recipient limit of 50: the others went in further transactions, at once, and each exactly once.
    assert sum(name.startswith("user") for name, _ in outcomes) == 120
    deadline = time.monotonic() + 10
    queued = b""
    while queued.count(b"@example.com") < 122 and time.monotonic() < deadline:
        time.sleep(0.2)
        queued = subprocess.run(["postqueue", "-c", str(root / "conf"), "-p"], check=True, capture_output=True).stdout
    assert queued.count(b"user119@example.com") == 1
    assert [message["state"] for message in program.queue()] == ["failed"]
