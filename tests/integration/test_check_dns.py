"""``ucrmmail check-dns`` as a user runs it: against real name servers on loopback, whole suites included."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.campaign.world import LONG
from tests.support.nameserver import nsd, serving
from tests.support.program import Program, Run
from tests.support.spf_suites import Case, cases
from tests.unit.dns.test_dmarc_suite import CASES as DMARC_CASES
from ucrmmail.dns.answer import Status
from ucrmmail.dns.nameserver import Nameserver

PRIVATE = rsa.generate_private_key(65537, 2048)
_SPKI = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
KEY = "v=DKIM1; p=" + base64.b64encode(_SPKI).decode()
ZONE = f"""\
$ORIGIN isp.example.
$TTL 300
@ SOA ns.isp.example. admin.isp.example. 1 3600 600 86400 300
@ NS ns
ns A 127.0.0.1
@ A 192.0.2.1
@ MX 10 mail
mail A 192.0.2.25
@ TXT "v=spf1 ip4:192.0.2.0/24 -all"
s1._domainkey TXT "{KEY[:255]}" "{KEY[255:]}"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:dmarc@isp.example"
dane MX 10 dane
dane A 127.0.0.1
_25._tcp.dane TLSA 3 1 1 2222
_25._tcp.dane TLSA 3 1 1 {"ab" * 32}
_dmarc.dane TXT "v=DMARC1; p=reject; rua=mailto:r@reports.other.example"
parked MX 0 .
parked TXT "v=spf1 -all"
half TXT "v=spf1 -all"
half MX 10 mail
flat TXT "v=spf1 include:isp.example -all"
odd TXT "v=spf1 \\027[2J\\007 +all" "[bold]x[/bold]"
"""
# The walk up the tree asks here too.
ABOVE = """\
$ORIGIN example.
$TTL 300
@ SOA ns.isp.example. admin.isp.example. 1 3600 600 86400 300
@ NS ns.isp.example.
isp NS ns.isp.example.
ns.isp A 127.0.0.1
"""
REVERSE = """\
$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@ SOA ns.isp.example. admin.isp.example. 1 3600 600 86400 300
@ NS ns.isp.example.
25 PTR mail.isp.example.
"""


@pytest.fixture(scope="module")
def nameserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    with nsd(
        tmp_path_factory.mktemp("nsd"), {"isp.example": ZONE, "example": ABOVE, "2.0.192.in-addr.arpa": REVERSE}
    ) as server:
        yield server


@pytest.fixture
def account(program: Program, nameserver: Nameserver) -> Program:
    program.configure(25, dns=f'nameservers = ["{nameserver}"]\nsending_addresses = ["192.0.2.25"]')
    return program


def codes(run: Run) -> set[str]:
    return {finding["code"] for domain in run.json["domains"] for finding in domain["findings"]}


def test_the_domain_of_the_account_is_checked_and_all_is_well(account: Program) -> None:
    run = account.run("check-dns", "--selector", "s1", "--json")
    assert (run.json["schema_version"], len(run.json["domains"])) == (1, 1)
    (domain,) = run.json["domains"]
    assert (domain["domain"], domain["verdict"]) == ("isp.example", "pass")
    assert domain["spf"]["result"] == "pass"
    assert domain["spf"]["record"] == "v=spf1 ip4:192.0.2.0/24 -all"
    assert domain["dkim"]["selectors"][0]["state"] == "valid"
    assert (domain["dmarc"]["result"], domain["dmarc"]["policy"]) == ("pass", "reject")
    assert domain["dmarc"]["org_domain"] == "isp.example"
    # What would be nice to have is proposed too, and says so.
    assert {proposal["name"].split(".")[0] for proposal in domain["proposals"]} <= {"_mta-sts", "_smtp"}
    assert codes(run) >= {"spf-valid", "spf-address-pass", "dkim-valid", "dmarc-record", "align-pass"}
    assert codes(run) >= {"mx-good", "ptr-verified", "domain-zone"}
    assert all(rule["holds"] is not False or "TLS" in rule["rule"] for rule in domain["requirements"])
    assert all(finding["severity"] in ("pass", "info") for finding in domain["findings"])
    assert account.run("check-dns", "-q").lines == []


def test_a_domain_that_says_it_has_no_mail_is_not_asked_for_any(account: Program) -> None:
    run = account.run("check-dns", "parked.isp.example", "--json")
    assert run.json["domains"][0]["verdict"] == "pass"
    assert codes(run) >= {"mx-null", "spf-valid", "dmarc-inherited"}
    assert not {code for code in codes(run) if code.startswith(("dkim", "align", "spf-address", "mx-null-sends"))}
    # One that takes mail says too little, and the account's own domain sends whatever its records say.
    assert "spf-address-not-authorized" in codes(account.run("check-dns", "half.isp.example", "--json", code=1))
    account.run("config", "set", "addresses.sender", "billing@parked.isp.example")
    own = codes(account.run("check-dns", "parked.isp.example", "--json", code=1))
    assert own >= {"mx-null-sends", "spf-address-not-authorized"}


def test_each_verdict_is_a_line_and_what_is_missing_is_proposed(account: Program) -> None:
    run = account.run("check-dns", "mail.isp.example", code=1)
    assert run.lines[0] == "fail     mail.isp.example"
    assert any("spf-no-record" in line for line in run.lines)
    assert any(line.startswith("    mail.isp.example  TXT  v=spf1 ") for line in run.lines)
    zone = account.run("check-dns", "mail.isp.example", "--zone", code=1)
    assert 'mail.isp.example. 3600 IN TXT "v=spf1 ip4:192.0.2.25 ~all"' in zone.lines


def test_a_private_note_in_a_record_cannot_reach_the_terminal(account: Program) -> None:
    run = account.run("check-dns", "odd.isp.example", "--only", "spf", code=1)
    assert "\\x1b[2J" in run.stdout
    assert "[bold]" in run.stdout
    assert not {"\x1b", "\x07"} & set(run.stdout + run.stderr)


def test_only_the_checks_that_are_asked_for_are_made(account: Program) -> None:
    domain = account.run("check-dns", "--only", "spf,dmarc", "--json").json["domains"][0]
    assert {finding["check"] for finding in domain["findings"]} == {"spf", "dmarc"}
    assert domain["dkim"] is None


def test_findings_can_be_left_out_and_warnings_counted(account: Program) -> None:
    arguments = ("check-dns", "mail.isp.example", "--only", "dkim")
    assert account.run(*arguments).lines[0] == "warn     mail.isp.example"
    account.run(*arguments, "--strict", code=1)
    assert account.run(*arguments, "--strict", "--ignore", "dkim-none-found").lines == ["pass     mail.isp.example"]


def test_many_domains_come_with_one_summary(account: Program, tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text("isp.example  # ours\n\nmail.isp.example\n")
    run = account.run("check-dns", "--file", str(file), code=1)
    assert run.lines[-1] == "mail.isp.example\tfail\tspf-no-record"
    both = account.run("check-dns", "--file", "-", "--json", stdin=file.read_text(), code=1)
    assert [domain["domain"] for domain in both.json["domains"]] == ["isp.example", "mail.isp.example"]


def test_a_file_without_a_header_is_no_message(account: Program, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    run = account.run("check-dns", "--message", str(tmp_path / "empty"), code=65)
    assert (run.stdout, "it has no header" in run.stderr) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no_such..domain",), "is no domain"),
        (("192.0.2.25",), "with --ip"),
        (("--only", "spfx"), "is no check"),
        (("isp.example", "--ip", "here"), "is no IP address"),
        (("--ip", "192.0.2.1"), "for whom"),
        (("--mail-from", "a@isp.example"), "belong to --ip"),
        (("--spf-pass", "isp.example"), "belong to --from"),
        (("--nameserver", "127.0.0.1:99999"), "99999"),
        (("--explain", "spf-plus-al"), "did you mean spf-plus-all?"),
        (("a.example", "b.example", "--ip", "192.0.2.1"), "one domain"),
        (("--ip", "192.0.2.1", "isp.example", "--dkim-pass", "isp.example"), "belong to --from"),
        (("--from", "a@isp.example", "--helo", "mail.isp.example"), "belong to --ip"),
        (("--message", "sent.eml", "--from", "a@isp.example"), "--message says itself"),
        (("--ip", "192.0.2.1", "isp.example", "--watch"), "the records of a domain"),
        (("--selector", ""), "is not a DKIM selector"),
        (("--selector", "s 1"), "is not a DKIM selector"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(account: Program, arguments: tuple[str, ...], says: str) -> None:
    run = account.run("check-dns", *arguments, code=2)
    assert says in run.stderr
    assert run.stdout == ""


def test_without_a_known_domain_the_way_out_is_told(program: Program) -> None:
    program.config.write_text("")
    program.config.chmod(0o600)
    assert "addresses.sender" in program.run("check-dns", code=2).stderr


def test_each_tlsa_record_is_judged_and_the_server_is_asked_for_its_certificate(account: Program) -> None:
    found = codes(account.run("check-dns", "dane.isp.example", "--only", "dane", "--json"))
    assert {"dane-length", "dane-not-validated"} <= found
    # Most often nothing listens at port 25 of the machine that runs the tests; whatever does has another certificate.
    assert found & {"dane-not-compared", "dane-no-tls", "dane-mismatch"}


def test_an_empty_list_of_domains_is_not_taken_for_those_of_the_account(account: Program, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("# nothing yet\n")
    assert "names no domain" in account.run("check-dns", "--file", str(tmp_path / "none"), code=2).stderr


def test_a_domain_that_is_named_twice_is_checked_once(account: Program) -> None:
    run = account.run("check-dns", "isp.example", "ISP.example.", "--only", "spf", "--json")
    assert [each["domain"] for each in run.json["domains"]] == ["isp.example"]


def test_a_code_that_no_finding_has_cannot_be_ignored(account: Program) -> None:
    run = account.run("check-dns", "isp.example", "--ignore", "spf-void-lookups", code=2)
    assert "did you mean spf-void-lookup?" in run.stderr


def test_what_belongs_into_a_zone_of_others_is_a_remark_in_the_zone_file(account: Program) -> None:
    lines = account.run("check-dns", "dane.isp.example", "--only", "dmarc", "--zone").lines
    assert '; dane.isp.example._report._dmarc.reports.other.example. 3600 IN TXT "v=DMARC1;"' in lines


def test_every_code_is_explained(account: Program) -> None:
    assert account.run("check-dns", "--explain", "spf-plus-all").stdout.startswith("spf-plus-all: ")


@pytest.mark.requirement("R32")
def test_servers_that_do_not_answer_are_no_missing_records(program: Program) -> None:
    program.configure(25)

    async def check() -> Run:
        records: dict[tuple[str, str], object] = {
            ("isp.example", "TXT"): Status.SERVFAIL,
            ("_dmarc.isp.example", "TXT"): Status.SERVFAIL,
            ("s1._domainkey.isp.example", "TXT"): Status.REFUSED,
        }
        async with serving(records) as server:
            arguments = ("check-dns", "--nameserver", str(server), "--selector", "s1", "--json")
            return await asyncio.to_thread(program.run, *arguments, code=75)

    run = asyncio.run(check())
    assert run.json["domains"][0]["verdict"] == "error"
    core = [f for f in run.json["domains"][0]["findings"] if f["check"] in ("spf", "dkim", "dmarc", "align")]
    assert {finding["severity"] for finding in core} == {"error"}


def test_hundreds_of_domains_are_checked_in_one_run(account: Program, tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text("".join(f"d{number}.isp.example\n" for number in range(300)))
    run = account.run("check-dns", "--file", str(file), "--only", "spf", "--json", code=1)
    assert len(run.json["domains"]) == 300
    assert {domain["verdict"] for domain in run.json["domains"]} == {"fail"}


# --- messages and keys ------------------------------------------------------------------------------------------------


PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
MESSAGE = b"From: Billing <billing@isp.example>\r\nTo: joe@example.com\r\nSubject: invoice\r\n\r\nPlease pay.\r\n"


def test_a_message_is_verified_and_judged(account: Program) -> None:
    signed = dkim.sign(MESSAGE, b"s1", b"isp.example", PEM) + MESSAGE
    run = account.run("check-dns", "--message", "-", "--json", stdin=signed)
    assert codes(run) == {"dkim-signature-valid", "dmarc-result-pass"}
    assert run.json["domains"][0]["dmarc"]["dkim_aligned"] == ["isp.example"]
    changed = account.run("check-dns", "--message", "-", stdin=signed.replace(b"Please pay", b"Do not pay"), code=1)
    assert "dmarc-result-fail" in changed.stdout
    assert codes(account.run("check-dns", "--message", "-", "--json", stdin=MESSAGE, code=1)) == {
        "dkim-signature-none",
        "dmarc-result-fail",
    }
    account.run("check-dns", "--message", "missing.eml", code=66)


def test_the_private_key_is_compared_and_never_shown(account: Program, tmp_path: Path) -> None:
    file = tmp_path / "s1.pem"
    other = rsa.generate_private_key(65537, 2048)
    for key, code, exit_code in ((PRIVATE, "dkim-private-matches", 0), (other, "dkim-private-differs", 1)):
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        run = account.run(
            "check-dns", "--private-key", str(file), "--selector", "s1", "--only", "dkim", "--json", code=exit_code
        )
        assert code in codes(run)
        assert not any(line in run.stdout + run.stderr for line in file.read_text().splitlines()[1:-1])
    file.write_text("not a key")
    assert "not a key" not in account.run("check-dns", "--private-key", str(file), "--selector", "s1", code=65).stderr
    account.run("check-dns", "--private-key", str(file), code=2)


# --- in cron -----------------------------------------------------------------------------------------------------------


def test_of_one_case_no_proposal_is_spoken_of(account: Program) -> None:
    run = account.run("check-dns", "isp.example", "--ip", "203.0.113.1", code=1)
    assert "record proposed" not in run.stdout
    assert "If 203.0.113.1 sends for isp.example" in run.stdout


def test_a_private_key_without_a_record_gets_the_record_to_publish(account: Program, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(PEM)
    arguments = ("check-dns", "isp.example", "--selector", "new", "--only", "dkim", "--private-key")
    run = account.run(*arguments, str(tmp_path / "key.pem"), "--json", code=1)
    proposed = [each for each in run.json["domains"][0]["proposals"] if each["name"] == "new._domainkey.isp.example"]
    assert [each["value"] for each in proposed] == [KEY.replace("; p=", "; k=rsa; p=")]
    # What is no key is told also where nothing stands to compare it with.
    (tmp_path / "no.pem").write_bytes(b"nothing")
    account.run(*arguments, str(tmp_path / "no.pem"), code=65)


def test_only_what_has_changed_is_told(account: Program, tmp_path: Path) -> None:
    known = str(tmp_path / "known.json")
    arguments = ("check-dns", "mail.isp.example", "-q", "--compare", known, "--save", known)
    account.run(*arguments[:3], "--compare", known, code=66)
    first = account.run("check-dns", "mail.isp.example", "--save", known, code=1)
    assert "spf-no-record" in first.stdout
    assert account.run(*arguments).lines == []
    entries = json.loads(Path(known).read_text())
    entries["domains"]["mail.isp.example"] = [["spf-plus-all", "mail.isp.example", "fail"]]
    Path(known).write_text(json.dumps(entries))
    changed = account.run(*arguments, "--json", code=1).json["domains"][0]
    assert changed["gone"] == ["spf-plus-all  mail.isp.example"]
    assert "spf-no-record" in {finding["code"] for finding in changed["findings"]}
    assert account.run(*arguments).lines == []


@pytest.mark.parametrize("content", ["", "[]", '{"baseline": 2}', '{"baseline": 1, "domains": [1]}', "x" * 1000])
def test_what_is_no_baseline_is_refused(account: Program, tmp_path: Path, content: str) -> None:
    path = tmp_path / "known.json"
    path.write_text(content)
    assert "no baseline" in account.run("check-dns", "--compare", str(path), code=65).stderr
    account.run("check-dns", "--save", "/nowhere/known.json", code=73)


def test_flattening_is_proposed_on_request_with_its_danger(account: Program) -> None:
    assert "include" in account.run("check-dns", "flat.isp.example", "--only", "spf", code=None).stdout
    proposals = account.run("check-dns", "flat.isp.example", "--only", "spf", "--flatten", "--json", code=None).json[
        "domains"
    ][0]["proposals"]
    flat = [proposal for proposal in proposals if "include" not in proposal["value"]]
    assert [proposal["value"] for proposal in flat] == ["v=spf1 ip4:192.0.2.0/24 -all"]
    assert "change" in flat[0]["why"]


# --- where and how it is published ------------------------------------------------------------------------------------


def test_the_steps_of_the_panel_are_told(account: Program) -> None:
    arguments = ("check-dns", "mail.isp.example", "--only", "spf")
    assert "Zone Editor" not in account.run(*arguments, code=1).stdout
    told = account.run(*arguments, "--panel", "cpanel", code=1).stdout
    assert "cPanel: Zone Editor, Manage, Add Record; add a record" in told
    assert "Name: mail.isp.example." in told
    document = account.run(*arguments, "--panel", "Cloudflare", "--json", code=1).json["domains"][0]
    assert (document["zone"], document["panel"]) == ("isp.example", "cloudflare")
    assert document["proposals"][0]["steps"][:3] == [
        "Cloudflare: your domain, DNS, Records, Add record; add a record",
        "Type: TXT",
        "Name: mail",
    ]
    assert "cloudflare" in account.run(*arguments, "--panel", "nobody", code=2).stderr


LISTED = """\
$ORIGIN bl.example.
$TTL 300
@ SOA ns.isp.example. admin.isp.example. 1 3600 600 86400 300
@ NS ns.isp.example.
isp.example A 127.0.0.2
isp.example TXT "sends \\027[31mspam"
25.2.0.192.refusing A 127.0.0.2
"""


def test_blocklists_are_asked_only_on_request(program: Program, tmp_path: Path) -> None:
    with nsd(tmp_path, {"isp.example": ZONE, "bl.example": LISTED, "example": ABOVE}) as server:
        program.configure(25, dns=f'nameservers = ["{server}"]\nsending_addresses = ["192.0.2.25"]')
        arguments = ("check-dns", "isp.example", "--only", "spf", "--json")
        assert "blocklist-listed" not in codes(program.run(*arguments))
        listed = program.run(*arguments, "--blocklist", "bl.example", code=1)
        assert codes(listed) >= {"blocklist-listed", "blocklist-clear"}
        shown = program.run("check-dns", "isp.example", "--only", "spf", "--blocklist", "bl.example", code=1).stdout
        assert "sends \\x1b[31mspam" in shown
        # The usual lists are of zones that this server does not know: it refuses, and nobody is listed.
        usual = program.run(*arguments, "--blocklists")
        assert codes(usual) >= {"blocklist-refused"}
        assert "blocklist-listed" not in codes(usual)


# At port 53, so that each test process needs addresses of its own.
HOST = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
NS1, NS2 = f"127.0.{HOST}.71", f"127.0.{HOST}.72"
WATCHED = f"""\
$ORIGIN isp.example.
$TTL 300
@ SOA ns1 admin {{serial}} 3600 600 86400 300
@ NS ns1
@ NS ns2
ns1 A {NS1}
ns2 A {NS2}
@ TXT "{{spf}}"
"""
BEFORE = WATCHED.format(serial=1, spf="v=spf1 ip4:192.0.2.0/24 -all")
AFTER = WATCHED.format(serial=2, spf="v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all")


@pytest.fixture
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    with nsd(tmp_path_factory.mktemp("primary"), {"isp.example": AFTER}, address=NS1, port=53) as server:
        yield server


def watching(program: Program, server: Nameserver, *arguments: str) -> list[str]:
    program.configure(25, dns=f'nameservers = ["{server}"]')
    return ["check-dns", "isp.example", "--only", "spf", "--watch", *arguments]


def test_a_record_is_watched_until_the_last_server_of_the_zone_has_it(
    program: Program, primary: Nameserver, tmp_path: Path
) -> None:
    expected = "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"
    with nsd(tmp_path, {"isp.example": BEFORE}, address=NS2, port=53):
        arguments = watching(program, primary, "--expect", expected)
        early = program.run(*arguments, "--watch-time", "0s", code=1)
        assert f"ns2.isp.example ({NS2}): does not show '{expected}'" in early.stdout
        assert early.lines[-1] == "isp.example: not everywhere yet"
        process = program.start(*arguments, "--watch-time", "60s")
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(3)]
        assert b"does not show" in head[2]
        assert process.poll() is None
    with nsd(tmp_path, {"isp.example": AFTER}, address=NS2, port=53):
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert b"all 2 servers of isp.example show the same records, and they are good" in rest


def test_what_is_watched_is_told_as_json(program: Program, primary: Nameserver) -> None:
    run = program.run(*watching(program, primary, "--watch-time", "0s", "--json"), code=1)
    (watched,) = run.json["propagation"]
    assert (watched["domain"], watched["zone"], watched["settled"]) == ("isp.example", "isp.example", False)
    verdicts = {each["address"]: (each["verdict"], each["codes"]) for each in watched["servers"]}
    assert verdicts[NS1] == ("pass", [])
    assert verdicts[NS2][0] == "error"


def test_watching_needs_a_time_and_expecting_needs_watching(account: Program) -> None:
    assert "belongs to --watch" in account.run("check-dns", "--expect", "v=spf1", code=2).stderr
    assert "--watch-time" in account.run("check-dns", "--watch", "--watch-time", "soon", code=2).stderr


# --- the public suites through the command line -----------------------------------------------------------------------


def spf_answer(program: Program, case: Case, server: str) -> dict[str, Any]:
    arguments = ["--ip", str(case.ip), "--mail-from", case.mail_from, "--helo", case.helo]
    run = program.run("check-dns", *arguments, "--nameserver", server, "--json", code=None)
    assert run.code in (0, 1, 75), run.stderr
    found: dict[str, Any] = run.json["domains"][0]["spf"]
    assert run.code == {"pass": 0, "temperror": 75}.get(found["result"], 1)
    return found


@pytest.mark.requirement("S12")
def test_the_suite_of_rfc_7208_passes_through_the_command_line(program: Program) -> None:
    program.configure(25)
    # A process each: tests/unit/dns has all of them in every run.
    found = cases("rfc7208-tests.yml")[:: 1 if LONG else 4]
    by_zone: dict[str, list[Case]] = {}
    for case in found:
        by_zone.setdefault(case.zone, []).append(case)
    wrong: list[str] = []

    async def run_zone(group: list[Case], pool: ThreadPoolExecutor) -> None:
        async with serving(group[0].records) as server:
            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(
                *(loop.run_in_executor(pool, spf_answer, program, case, str(server)) for case in group)
            )
        for case, answer in zip(group, answers, strict=True):
            if answer["result"] not in case.results:
                wrong.append(f"{case.name}: {answer['result']}, not {case.results}")
            if case.explanation is not None and (answer["explanation"] or "") != case.explanation:
                wrong.append(f"{case.name}: {answer['explanation']!r}, not {case.explanation!r}")

    async def run_all() -> None:
        with ThreadPoolExecutor(2) as pool:
            for group in by_zone.values():
                await run_zone(group, pool)

    asyncio.run(run_all())
    assert wrong == []


@pytest.mark.parametrize("name", ["dmarc-11", "dmarc-14", "dmarc-17", "dmarc-33", "dmarc-34"])
def test_dmarc_is_judged_through_the_command_line(program: Program, name: str) -> None:
    program.configure(25)
    zone, case = next((zone, case) for known, zone, case in DMARC_CASES if known == name)

    async def judge() -> Run:
        async with serving(zone) as server:
            arguments = ["--from", case["header_from"], "--nameserver", str(server), "--json"]
            for option in ("spf_pass", "dkim_pass"):
                if case[option]:
                    arguments += [f"--{option.replace('_', '-')}", ",".join(case[option])]
            return await asyncio.to_thread(program.run, "check-dns", *arguments, code=None)

    run = asyncio.run(judge())
    found = run.json["domains"][0]["dmarc"]
    assert found["result"] == case["result"]
    assert run.code == {"pass": 0, "temperror": 75}.get(case["result"], 1)
    for key in ("policy", "org_domain"):
        if key in case:
            assert found[key] == case[key]


def test_international_names_and_a_whole_from_header_are_understood(program: Program) -> None:
    program.configure(25)
    name = "xn--mnchen-3ya.example"
    zone: dict[tuple[str, str], object] = {
        (name, "TXT"): "v=spf1 ip4:192.0.2.1 -all",
        (f"_dmarc.{name}", "TXT"): "v=DMARC1; p=reject",
    }

    async def judge() -> Run:
        async with serving(zone) as server:
            arguments = ["--ip", "192.0.2.1", "--mail-from", "joe@m\u00fcnchen.example", "--nameserver", str(server)]
            header_from = ["--from", "Joe <joe@m\u00fcnchen.example>"]
            return await asyncio.to_thread(program.run, "check-dns", *arguments, *header_from, "--json")

    (found,) = asyncio.run(judge()).json["domains"]
    assert (found["spf"]["result"], found["dmarc"]["result"]) == ("pass", "pass")


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (("--mail-from", ""), "none"),
        (("--mail-from", "", "--helo", ""), "none"),
        (("--helo", ""), "none"),
        (("isp.example", "--mail-from", ""), "pass"),
    ],
)
def test_an_empty_name_has_a_result_of_its_own(
    account: Program, nameserver: Nameserver, arguments: tuple[str, ...], result: str
) -> None:
    run = account.run("check-dns", "--ip", "192.0.2.25", *arguments, "--json", code=None)
    assert run.json["domains"][0]["spf"]["result"] == result


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("", "Name the domain as the server says it"),
        ("mail server", "Name the domain as the server says it"),
        ("norecord.isp.example", "publish a record with it; `ucrmmail check-dns norecord.isp.example` proposes one"),
    ],
)
def test_where_no_record_was_found_none_is_to_be_added_to(
    account: Program, nameserver: Nameserver, name: str, remedy: str
) -> None:
    run = account.run("check-dns", "--ip", "192.0.2.25", "--helo", name, code=1)
    assert ": none" in run.stdout
    assert remedy in " ".join(run.stdout.split())
    assert "add it to that record" not in run.stdout


def test_the_json_is_ascii_whatever_the_names_hold(program: Program, nameserver: Nameserver) -> None:
    program.configure(25)
    run = program.run(
        "check-dns", "--ip", "192.0.2.1", "--mail-from", "ä\x1b@b\x07..example", "--helo", "\u202e", "--json",
        "--nameserver", str(nameserver), code=1,
    )  # fmt: skip
    assert run.stdout.isascii()
    assert json.loads(run.stdout)["domains"][0]["spf"]["result"] == "none"
