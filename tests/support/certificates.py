"""A certificate authority for tests: servers that are to be trusted, and each kind that must not be.

    authority = TestAuthority(tmp_path)
    Smarthost("localhost", port, ca_file=str(authority.ca_file))
    authority.server_context("localhost")                      trusted
    authority.server_context("localhost", expired=True)        ended yesterday
    authority.server_context("localhost", not_yet=True)        begins tomorrow
    authority.server_context("other.example")                  made for another name
    authority.context_for_clients_only("localhost")            not meant for a server
    authority.self_signed_context("localhost")                 signed by nobody but itself
    authority.server_context("localhost", wants_client=True)   asks the client for a certificate of this authority
    certificate, key = authority.client_files("billing")       ... which are here

The keys are small elliptic curves: a context costs a few milliseconds.
"""

from __future__ import annotations

import datetime as dt
import ssl
import warnings
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


class TestAuthority:
    """An authority whose certificate is in ``ca_file``; nothing on this machine trusts it."""

    __test__ = False  # pytest must not take it for a test

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA(organization_name="ucrmmail tests")
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server_context(
        self,
        *names: str,
        expired: bool = False,
        not_yet: bool = False,
        days_left: float = 30,
        wants_client: bool = False,
    ) -> ssl.SSLContext:
        """Return a server's context with a certificate for these host names or addresses (``localhost`` by default)."""
        now = dt.datetime.now(dt.UTC)
        begins = now + _DAY if not_yet else now - 3 * _DAY
        ends = now - _DAY if expired else now + days_left * _DAY
        issued = self._authority.issue_cert(*(names or ("localhost",)), not_before=begins, not_after=ends)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context

    def self_signed_context(self, name: str = "localhost") -> ssl.SSLContext:
        """Return a server's context with a certificate that no authority has signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate_for(name, key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        return self._context_with(f"self-signed-{name}", key, certificate.sign(key, hashes.SHA256()))

    def context_for_clients_only(self, name: str = "localhost") -> ssl.SSLContext:
        """Return a server's context with a certificate that this authority has issued for clients alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self._authority.cert_pem.bytes()).subject
        signer = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        certificate = _certificate_for(name, key, issuer).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True
        )
        return self._context_with(f"clients-only-{name}", key, certificate.sign(signer, hashes.SHA256()))

    def _context_with(
        self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> ssl.SSLContext:
        path = self._directory / f"{file}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def old_context(self, name: str = "localhost") -> ssl.SSLContext:
        """Return a server's context that speaks nothing newer than TLS 1.1."""
        context = self.server_context(name)
        # OpenSSL 3 signs such handshakes (SHA-1) only below security level 1.
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def client_files(self, name: str = "client") -> tuple[Path, Path]:
        """Return (certificate, key) files for a client; the key has mode 0600."""
        issued = self._authority.issue_cert(f"{name}@isp.example", common_name=name)
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        return certificate, key


def _certificate_for(name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
