"""An authorization server on loopback that grants, rotates, revokes and refuses as RFC 6749, 7523, 7636 and 8628 say.

    with OAuthServer() as server:
        server.token_endpoint, server.device_endpoint, server.authorization_endpoint
        server.device_answers = ["slow_down", "authorization_pending"]     then the token is granted
        server.refuse("invalid_grant", "AADSTS700082: ...")                the next request for a token
        server.fail_with(503)                                              the next request, with no OAuth reply
        server.is_good(user, token)                                        for SmtpServer(tokens=...)
        server.visit(url)                                                  a browser whose user agrees

Every access and refresh token begins with ``canary-``, so that a test can look for them where they must not be.
A refresh token is good once (rotation); to use it again is refused, and ends the sign-in (RFC 6819, 5.2.2.3).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT_ID = "client-1"
CLIENT_SECRET = "canary-client-secret"
CANARY = "canary-"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _RefusedError(Exception):
    def __init__(self, code: str, description: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.description = description
        self.status = status


@dataclass
class _SignIn:
    refresh: str
    used: set[str] = field(default_factory=set)


class OAuthServer:
    """``requests`` are the forms that came, each with its path under the key ``path``."""

    def __init__(self, *, secret: str = "", expires_in: float = 3600, more: dict[str, Any] | None = None) -> None:
        self.secret = secret
        self.expires_in = expires_in
        self.more = more or {}
        self.device_answers: list[str] = []
        self.device_interval: float = 0
        self.grants_refresh = True
        self.rotates = True
        self.delay_s = 0.0
        self.requests: list[dict[str, str]] = []
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._good: set[str] = set()
        self._sign_ins: list[_SignIn] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._next: list[_RefusedError | int] = []
        self._refusal: _RefusedError | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
                status, reply = server.answer(urlsplit(self.path).path, form)
                body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", server.agree(self.path))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._http.server_port}"
        self.token_endpoint = f"{self.base}/token"
        self.device_endpoint = f"{self.base}/device"
        self.authorization_endpoint = f"{self.base}/authorize"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # --- what tests say ----------------------------------------------------------------------------------------

    def refuse(self, code: str, description: str = "", *, times: int = 1) -> None:
        self._next += [_RefusedError(code, description)] * times

    def refuse_tokens(self, code: str, description: str = "") -> None:
        """Refuse every request for a token; codes to enter are given out."""
        self._refusal = _RefusedError(code, description)

    def fail_with(self, status: int) -> None:
        self._next.append(status)

    def end_sessions(self) -> None:
        """An administrator ends every session: no token is good any more, and none is renewed."""
        self._good.clear()
        self._sign_ins.clear()

    def spoil_access_tokens(self) -> None:
        """Access tokens end before their time; they can be renewed."""
        self._good.clear()

    def visit(self, url: str) -> str:
        """Go to the address as a browser does whose user agrees; return the address that it ends at."""
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(url, timeout=10) as response:
            return str(response.headers["Location"])

    # --- what tests ask ----------------------------------------------------------------------------------------

    def is_good(self, _user: str, token: str) -> bool:
        return token in self._good

    def grants(self, grant_type: str) -> int:
        return sum(form.get("grant_type") == grant_type for form in self.requests)

    @property
    def refreshes(self) -> int:
        return self.grants("refresh_token")

    def key_file(self) -> dict[str, str]:
        """The content of a service account's key file."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "client_email": "mailer@project.example",
            "private_key": pem.decode(),
            "private_key_id": "key-1",
            "token_uri": self.token_endpoint,
        }

    # --- its work ----------------------------------------------------------------------------------------------

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        with self._lock:
            self.requests.append({"path": path, **form})
            if self._next:
                told = self._next.pop(0)
                if isinstance(told, int):
                    return told, b"<html>not now</html>"
                return told.status, {"error": told.code, "error_description": told.description}
            try:
                return 200, self._granted(path, form)
            except _RefusedError as error:
                return error.status, {"error": error.code, "error_description": error.description}

    def _granted(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        time.sleep(self.delay_s)
        if path == "/token" and self._refusal is not None:
            raise self._refusal
        if form.get("grant_type") != JWT_GRANT:
            self._check_client(form, needs_secret=path == "/token")
        if path == "/device":
            return {
                "device_code": "canary-device-code",
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.base}/enter",
                "expires_in": 900,
                "interval": self.device_interval,
            }
        if path == "/revoke":
            self._sign_ins = [one for one in self._sign_ins if one.refresh != form["token"]]
            return {}
        match form.get("grant_type"):
            case "client_credentials":
                return self._token(form, refresh=False)
            case "refresh_token":
                return self._refreshed(form)
            case "authorization_code":
                return self._redeemed(form)
            case str(grant) if grant == DEVICE_GRANT:
                return self._device(form)
            case str(grant) if grant == JWT_GRANT:
                self._check_assertion(form["assertion"])
                return self._token(form, refresh=False)
        raise _RefusedError("unsupported_grant_type")

    def _check_client(self, form: dict[str, str], *, needs_secret: bool) -> None:
        if form.get("client_id") != CLIENT_ID:
            raise _RefusedError("unauthorized_client", "AADSTS700016: Application not found in the directory")
        if needs_secret and form.get("client_secret", "") != self.secret:
            raise _RefusedError("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)

    def _token(self, form: dict[str, str], *, refresh: bool) -> dict[str, Any]:
        number = next(self._numbers)
        access = f"{CANARY}access-{number}"
        self._good.add(access)
        reply = {"access_token": access, "token_type": "Bearer", "expires_in": self.expires_in, **self.more}
        if refresh and self.grants_refresh:
            reply["refresh_token"] = f"{CANARY}refresh-{number}"
            self._sign_ins.append(_SignIn(reply["refresh_token"]))
        return reply

    def _refreshed(self, form: dict[str, str]) -> dict[str, Any]:
        given = form.get("refresh_token", "")
        for one in self._sign_ins:
            if given in one.used:
                self._sign_ins.remove(one)
                raise _RefusedError("invalid_grant", "the refresh token was used before")
            if given == one.refresh:
                reply = self._token(form, refresh=False)
                if not self.rotates:
                    return reply
                one.used.add(given)
                one.refresh = reply["refresh_token"] = f"{CANARY}refresh-{next(self._numbers)}"
                return reply
        raise _RefusedError("invalid_grant", "Token has been expired or revoked.")

    def agree(self, path: str) -> str:
        """Return where the browser of a user who agrees is sent."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        code = f"{CANARY}code-{next(self._numbers)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'state': asked['state'], 'code': code})}"

    def _redeemed(self, form: dict[str, str]) -> dict[str, Any]:
        asked = self._codes.pop(form.get("code", ""), None)
        if (
            asked is None
            or asked["redirect_uri"] != form.get("redirect_uri")
            or asked["client_id"] != form["client_id"]
        ):
            raise _RefusedError("invalid_grant", "the code is not known here")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked["code_challenge_method"] != "S256" or asked["code_challenge"] != challenge:
            raise _RefusedError("invalid_grant", "the code verifier is wrong")
        return self._token(form, refresh=True)

    def _device(self, form: dict[str, str]) -> dict[str, Any]:
        if form.get("device_code") != "canary-device-code":
            raise _RefusedError("invalid_grant")
        if self.device_answers:
            raise _RefusedError(self.device_answers.pop(0))
        return self._token(form, refresh=True)

    def _check_assertion(self, assertion: str) -> None:
        """RFC 7523 section 3: the signature, for whom, to whom, and for how long."""
        head, claims, signature = (_decoded(part) for part in assertion.split("."))
        try:
            self.key.public_key().verify(
                signature, assertion.rpartition(".")[0].encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise _RefusedError("invalid_grant", "Invalid JWT Signature.") from None
        told = json.loads(claims)
        good = (
            json.loads(head) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
            and told["iss"] == "mailer@project.example"
            and told["aud"] == self.token_endpoint
            and told["iat"] <= time.time() + 60
            and time.time() < told["exp"] <= told["iat"] + 3600
        )
        if not good:
            raise _RefusedError("invalid_grant", "Invalid JWT")
        if told.get("sub") != "billing@isp.example":
            raise _RefusedError("unauthorized_client", "Client is unauthorized to retrieve access tokens")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, _req: Any, fp: Any, _code: int, _msg: str, _headers: Any) -> Any:
        return fp


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
