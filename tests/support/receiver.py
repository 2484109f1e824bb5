"""A whole receiving mail system in a network of its own: NSD, Postfix, OpenDKIM, OpenDMARC and Dovecot from Debian.

    ucrmmail -> submission 192.0.2.25:587 (signs with OpenDKIM) -> 192.0.2.26:2525 (SPF, DKIM, DMARC) -> Dovecot -> IMAPS

OpenDMARC asks the system's resolver, which knows no ports, and SPF always passes between loopback addresses. So all of
it lives in a network namespace with addresses of documentation (RFC 5737), a name server on port 53 and its own
``resolv.conf``; the network of the machine stays as it is. Programs are run in it by ``World.command``.

Accounts: joe@example.com, password ``PASSWORD``; joe+Junk@example.com goes into the junk folder.
"""

from __future__ import annotations

import contextlib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from tests.support.network import Network, network, wait_until

PASSWORD = "imap-canary-0815"
SENDING, RECEIVING = "192.0.2.25", "192.0.2.26"

NSD = """\
server:
  ip-address: 127.0.0.1
  username: ""
  zonesdir: "{root}/dns"
  pidfile: "{root}/nsd.pid"
  zonelistfile: "{root}/zone.list"
  xfrdfile: "{root}/xfrd.state"
  xfrdir: "{root}"
  logfile: "{root}/log/nsd.log"
  database: ""
  server-count: 1
remote-control:
  control-enable: no
{zones}
"""
SOA = "@ 300 SOA ns admin 1 3600 600 86400 300\n@ 300 NS ns.example.com.\n"
ZONES = {
    "example.com": (
        f"ns 300 A 127.0.0.1\n@ 300 MX 10 mx\nmx 300 A {RECEIVING}\n@ 300 A {RECEIVING}\nimap 300 A {RECEIVING}\n"
    ),
    "isp.example": (
        f'@ 300 MX 10 mx.example.com.\n@ 300 A {SENDING}\nsmtp 300 A {SENDING}\n@ 300 TXT "v=spf1 ip4:{SENDING} -all"\n'
        '_dmarc 300 TXT "v=DMARC1; p=none"\n'
    ),
    "forged.example": (
        f'@ 300 MX 10 mx.example.com.\n@ 300 A {SENDING}\n@ 300 TXT "v=spf1 ip4:198.51.100.1 -all"\n'
        '_dmarc 300 TXT "v=DMARC1; p=none"\n'
    ),
}
REVERSE = "25 300 PTR smtp.isp.example.\n26 300 PTR mx.example.com.\n"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {root}/postfix/queue
data_directory = {root}/postfix/data
myhostname = mx.example.com
mydestination =
mynetworks = {sending}/32
inet_interfaces = {sending}, {receiving}
inet_protocols = ipv4
maillog_file = {root}/log/maillog
maillog_file_prefixes = {root}
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_transport = lmtp:inet:127.0.0.1:2400
recipient_delimiter = +
smtpd_tls_cert_file = {root}/tls/mx.pem
smtpd_tls_key_file = {root}/tls/mx.key
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtp_tls_security_level = encrypt
smtp_bind_address = {sending}
smtp_helo_name = smtp.isp.example
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
milter_default_action = tempfail
"""
MASTER_CF = """\
{sending}:587 inet n - n - - smtpd
    -o myhostname=smtp.isp.example
    -o content_filter=smtp:[{receiving}]:2525
    -o smtpd_milters=inet:127.0.0.1:8891
{receiving}:2525 inet n - n - - smtpd
    -o smtpd_milters=inet:127.0.0.1:8892,inet:127.0.0.1:8893
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
"""
SIGNING = """\
Mode s
Domain {domains}
Selector s1
KeyFile {root}/dkim/s1.private
RequireSafeKeys false
Canonicalization relaxed/simple
InternalHosts {root}/dkim/everybody
Socket inet:8891@127.0.0.1
"""
VERIFYING = """\
Mode v
AuthservID mx.example.com
InternalHosts {root}/dkim/nobody
RequireSafeKeys false
Nameservers 127.0.0.1
Socket inet:8892@127.0.0.1
"""
DMARC = """\
AuthservID mx.example.com
TrustedAuthservIDs mx.example.com
IgnoreHosts {root}/dkim/nobody
SPFIgnoreResults true
SPFSelfValidate true
RejectFailures false
Socket inet:8893@127.0.0.1
"""
DOVECOT = """\
base_dir = {root}/dovecot/run
state_dir = {root}/dovecot/run
log_path = {root}/log/dovecot.log
protocols = imap lmtp
ssl = required
ssl_cert = <{root}/tls/mx.pem
ssl_key = <{root}/tls/mx.key
ssl_min_protocol = TLSv1.2
auth_mechanisms = plain login
mail_location = maildir:{root}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
default_vsz_limit = 512M
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox {junk} {{
    special_use = \\Junk
    auto = subscribe
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = 2400
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = {receiving}
    port = 143
  }}
  inet_listener imaps {{
    address = {receiving}
    port = 993
    ssl = yes
  }}
}}
"""


@dataclass(frozen=True)
class World:
    """The running mail system: its files, its network, and the authority that its certificates are from."""

    root: Path
    network: Network

    @property
    def ca_file(self) -> Path:
        return self.root / "tls" / "ca.pem"

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs a program in this network."""
        return self.network.command(*argv)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.root / "log").iterdir()))


@contextlib.contextmanager
def receiver(junk: str = "Junk") -> Iterator[World]:
    """Run it until the block ends; ``junk`` is how the junk folder is called."""
    root = Path(tempfile.mkdtemp(prefix="ucrmmail-mx-", dir="/tmp"))
    root.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        _write(root, junk)
        world = World(root, stack.enter_context(network(SENDING, RECEIVING)))
        stack.callback(_stop, world, started)
        world.network.run("mount", "--bind", str(root / "resolv.conf"), "/etc/resolv.conf")
        for program in (
            ("/usr/sbin/nsd", "-d", "-c", str(root / "nsd.conf")),
            ("/usr/sbin/opendkim", "-f", "-x", str(root / "signing.conf")),
            ("/usr/sbin/opendkim", "-f", "-x", str(root / "verifying.conf")),
            ("/usr/sbin/opendmarc", "-f", "-c", str(root / "dmarc.conf")),
            ("/usr/sbin/dovecot", "-F", "-c", str(root / "dovecot.conf")),
        ):
            with (root / "log" / f"{Path(program[0]).name}.out").open("ab") as log:
                started.append(subprocess.Popen(world.command(*program), stdout=log, stderr=log))
        try:
            world.network.run("/usr/sbin/postfix", "-c", str(root / "postfix"), "start")
            for address, port in (
                ("127.0.0.1", 53), ("127.0.0.1", 8891), ("127.0.0.1", 8892), ("127.0.0.1", 8893), ("127.0.0.1", 2400),
                (SENDING, 587), (RECEIVING, 2525), (RECEIVING, 993),
            ):  # fmt: skip
                wait_until(partial(_listens, world, address, port), f"{address}:{port}")
        except BaseException:
            print(world.logs())
            raise
        yield world


def _stop(world: World, started: list[subprocess.Popen[bytes]]) -> None:
    postfix = world.command("/usr/sbin/postfix", "-c", str(world.root / "postfix"), "stop")
    subprocess.run(postfix, check=False, capture_output=True)
    for process in reversed(started):
        process.terminate()
    for process in started:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write(root: Path, junk: str) -> None:
    for name in ("dns", "dkim", "tls", "log", "mail", "postfix/queue", "postfix/data", "dovecot/run"):
        (root / name).mkdir(parents=True)
    owner = pwd.getpwnam("nobody")
    shutil.chown(root / "mail", "nobody", owner.pw_gid)
    shutil.chown(root / "postfix" / "data", "postfix")
    (root / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    # Names that no host has: the filters would take it for their own otherwise.
    (root / "dkim" / "nobody").write_text("203.0.113.99\n")
    (root / "dkim" / "everybody").write_text("0.0.0.0/0\n")
    subprocess.run(
        ["opendkim-genkey", "-D", str(root / "dkim"), "-d", "isp.example", "-s", "s1", "-b", "1024"], check=True
    )
    record = (root / "dkim" / "s1.txt").read_text()
    zones = {**ZONES, "isp.example": ZONES["isp.example"] + record, "2.0.192.in-addr.arpa": REVERSE}
    for zone, text in zones.items():
        (root / "dns" / zone).write_text(SOA + text)
    clauses = "".join(f'zone:\n  name: "{zone}"\n  zonefile: "{zone}"\n' for zone in zones)
    values = {
        "root": root, "sending": SENDING, "receiving": RECEIVING, "domains": "isp.example", "zones": clauses,
        "password": PASSWORD, "uid": owner.pw_uid, "gid": owner.pw_gid, "junk": junk,
    }  # fmt: skip
    for name, text in (
        ("nsd.conf", NSD), ("postfix/main.cf", MAIN_CF), ("postfix/master.cf", MASTER_CF), ("signing.conf", SIGNING),
        ("verifying.conf", VERIFYING), ("dmarc.conf", DMARC), ("dovecot.conf", DOVECOT),
    ):  # fmt: skip
        (root / name).write_text(text.format(**values))
    authority = trustme.CA(organization_name="ucrmmail tests")
    authority.cert_pem.write_to_path(root / "tls" / "ca.pem")
    issued = authority.issue_cert("mx.example.com", "imap.example.com", "smtp.isp.example")
    issued.private_key_pem.write_to_path(root / "tls" / "mx.key")
    issued.cert_chain_pems[0].write_to_path(root / "tls" / "mx.pem")
    (root / "tls" / "mx.key").chmod(0o600)


def _listens(world: World, address: str, port: int) -> bool:
    probe = f"import socket; socket.create_connection(({address!r}, {port}), 1).close()"
    return (
        subprocess.run(world.command("/usr/bin/python3", "-c", probe), check=False, capture_output=True).returncode == 0
    )
