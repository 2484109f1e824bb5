"""A certificate authority for tests: real chains, and the ways in which a certificate can be wrong."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import trustme


class TestAuthority:
    """A CA whose certificate stands in ``ca_file``; contexts for servers are signed by it."""

    __test__ = False  # pytest: this is no test class

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names."""
        until = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) if expired else None
        leaf = self._authority.issue_cert(*names, not_before=dt.datetime(2019, 1, 1, tzinfo=dt.UTC), not_after=until)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        return context
