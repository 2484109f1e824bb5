"""Two hosts and one queue, on a real file system that both reach: one of them sends, and the other is told so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Hosts, shared
from tests.support.program import Program
from tests.support.sink import Sink

pytestmark = pytest.mark.watched


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with shared(program.spool, tmp_path) as made:
        yield made


@pytest.fixture
def queued(program: Program, sink: Sink) -> Program:
    program.configure(sink.port)
    return program


@pytest.mark.requirement("R24")
def test_a_second_host_submits_and_does_not_send(queued: Program, sink: Sink, hosts: Hosts) -> None:
    first, second = hosts.host("billing1"), hosts.host("billing2")
    first.run(queued, "flush")
    second.run(queued, "-t", name="ucrmmail-sendmail")
    refused = second.run(queued, "flush", code=78)
    assert refused.stderr == (
        f"ucrmmail: the queue {queued.spool} is run by another host, billing1\n"
        "  why:    it is on a shared file system (fuse), where two hosts would send the same messages\n"
        "  remedy: run `ucrmmail flush` there only; if that host is gone for good, run"
        f" `rm {queued.spool}/host`\n"
    )
    assert sink.messages == []
    first.run(queued, "flush")
    assert len(sink.messages) == 1


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("change", ["hold", "release", "retry", "remove"])
def test_a_second_host_changes_nothing_in_the_queue(queued: Program, hosts: Hosts, change: str) -> None:
    first, second = hosts.host("billing1"), hosts.host("billing2")
    first.run(queued, "flush")
    second.run(queued, "-t", name="ucrmmail-sendmail")
    state = {"release": "held", "retry": "failed"}.get(change, "waiting")
    refused = second.run(queued, "queue", change, "--state", state, "--yes", code=78)
    assert "is run by another host, billing1" in refused.stderr
    assert [message["state"] for message in second.run(queued, "queue", "list", "--json").json["messages"]] == [
        "waiting"
    ]


def test_a_test_that_counts_against_the_limits_is_for_the_same_host(queued: Program, sink: Sink, hosts: Hosts) -> None:
    queued.configure(sink.port, throttler="message_limit = 5")
    hosts.host("billing1").run(queued, "flush")
    refused = hosts.host("billing2").run(queued, "test-send", "joe@example.com", code=78)
    assert "is run by another host, billing1" in refused.stderr
    assert sink.messages == []


def test_the_same_machine_goes_on_after_a_reboot_and_with_another_name(
    queued: Program, sink: Sink, hosts: Hosts
) -> None:
    hosts.host("billing1", machine="one").run(queued, "flush")
    rebooted = hosts.host("renamed", machine="one", boot="another")
    rebooted.run(queued, "-t", name="ucrmmail-sendmail")
    rebooted.run(queued, "flush")
    assert len(sink.messages) == 1
    assert (queued.spool / "host").read_text().split(" ")[1:] == ["another", "renamed\n"]


@pytest.mark.requirement("R24")
def test_containers_of_one_machine_are_one_host(queued: Program, hosts: Hosts) -> None:
    """Each has an id of its own, or none, and a name that changes; the kernel, and with it the locks, is the same."""
    hosts.host("3f9a41c2d07b", boot="same").run(queued, "flush")
    hosts.host("77ab0e5c1d2e", boot="same").run(queued, "flush")


@pytest.mark.requirement("R24")
def test_the_queue_moves_to_another_host_when_a_person_says_so(queued: Program, sink: Sink, hosts: Hosts) -> None:
    old, new = hosts.host("billing1"), hosts.host("billing2")
    old.run(queued, "flush")
    hosts.run("rm", str(queued.spool / "host"))
    new.run(queued, "-t", name="ucrmmail-sendmail")
    new.run(queued, "flush")
    assert len(sink.messages) == 1
    old.run(queued, "-t", name="ucrmmail-sendmail")
    old.run(queued, "flush", code=78)


def test_a_disk_of_this_host_moves_with_its_queue(queued: Program, sink: Sink, tmp_path: Path) -> None:
    queued.sendmail("-t")
    queued.run("flush")
    assert len(sink.messages) == 1
    assert not (queued.spool / "host").exists()


@pytest.mark.parametrize("name", ["billing1", "billing2"])
def test_the_doctor_tells_who_may_send(queued: Program, hosts: Hosts, name: str) -> None:
    hosts.host("billing1").run(queued, "flush")
    asked = hosts.host(name).run(queued, "doctor", "--only", "spool", "--json", code=int(name == "billing2"))
    (found,) = [check for check in asked.json["checks"] if check["check"] == "spool"]
    if name == "billing1":
        assert found["verdict"] == "warn"
        assert f"{queued.spool} is on a shared file system (fuse on {queued.spool})" in found["detail"]
    else:
        assert found["verdict"] == "fail"
        assert "is run by another host, billing1: nothing is sent from here" in found["detail"]
