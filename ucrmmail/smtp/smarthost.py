"""The smarthost: where it is and how it is spoken to (RFC 6409)."""

from __future__ import annotations

import string

from ucrmmail.dataclass import dataclass
from ucrmmail.message.outcome import Stage

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-._")


@dataclass(frozen=True, slots=True)
class Smarthost:
    """The settings of a smarthost, checked and complete; texts are "" when unset.

    ``encryption`` is "starttls", "tls" (from the first byte) or "none"; ``authentication`` is "auto", "none", or a
    mechanism in lower case. ``timeout_s`` is for each step that has no time of its own; 0.0 is none. A short
    ``final_timeout_s``, for the reply to the final dot, makes duplicates (RFC 5321 section 4.5.3.2.6: ten minutes).
    """

    host: str
    port: int
    encryption: str = "starttls"
    username: str = ""
    authentication: str = "auto"
    verify_certificate: bool = True
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    timeout_s: float = 60.0
    greeting_timeout_s: float = 0.0
    envelope_timeout_s: float = 0.0
    data_timeout_s: float = 0.0
    block_timeout_s: float = 0.0
    final_timeout_s: float = 600.0
    local_hostname: str = "localhost"
    pipelining: bool = True
    chunking: bool = True
    allow_insecure_login: bool = False

    def patience_s(self, stage: Stage) -> float:
        """Return how long the server may take at this stage (RFC 5321 section 4.5.3.2)."""
        own_s = {
            Stage.GREETING: self.greeting_timeout_s,
            Stage.MAIL: self.envelope_timeout_s,
            Stage.RCPT: self.envelope_timeout_s,
            Stage.DATA: self.data_timeout_s,
            Stage.BODY: self.block_timeout_s,
            Stage.FINAL_DOT: self.final_timeout_s,
        }.get(stage, 0.0)
        return own_s or self.timeout_s

    @property
    def name(self) -> str:
        """Host and port, as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def logs_in(self) -> bool:
        """Whether the account logs in."""
        return bool(self.username) and self.authentication != "none"

    def own_name(self, own_address: str) -> str:
        """Return what we call ourselves: the name, or an address literal when that is none (RFC 5321 section 4.1.4)."""
        name = self.local_hostname
        if name and _NAME_CHARACTERS.issuperset(name):
            # An address that stands where a name should is refused without the brackets of section 4.1.3.
            return f"[{name}]" if name.replace(".", "").isdigit() else name
        return f"[IPv6:{own_address}]" if ":" in own_address else f"[{own_address}]"
