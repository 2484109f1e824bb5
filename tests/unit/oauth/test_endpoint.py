"""What an authorization server can answer with, also what it must not: each is an error of ours, in bounded time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ucrmmail.oauth import endpoint
from ucrmmail.oauth.endpoint import Endpoint
from ucrmmail.oauth.provider import CLIENT_CREDENTIALS, Client, Provider
from ucrmmail.oauth.refusal import ClientRefusedError, GrantRefusedError, TokenUnavailableError
from ucrmmail.oauth.token import Token


@contextmanager
def answering(data: bytes, *, endless: bytes = b"") -> Iterator[str]:
    """A server that says this to whatever it is asked, and ``endless`` again and again after it."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(data)
                while endless and not stopping.wait(0.01):
                    connection.sendall(endless)
            except OSError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/token"
    finally:
        stopping.set()
        thread.join(10)
        listener.close()


def page(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n".encode() + body


def asked(url: str) -> Token:
    client = Client(Provider(title="it", token_endpoint=url, application_scope="s"), "id", "u")
    return Endpoint(client, "canary-secret").token("client_credentials", now=0.0, flow=CLIENT_CREDENTIALS)


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<html>sign in to the hotel</html>"),
        page(b"[]"),
        page(b'{"access_token": 5}'),
        page(b"{}"),
        page(b'{"access_token": "a'),
        page(b"\xff\xfe\x00"),
        page(b"", "204 No Content"),
        page(b"", "302 Found", "Location: http://127.0.0.1:1/elsewhere\r\n"),
        page(b'{"error": 5}', "500 Oops"),
        page(b"too many", "429 Too Many Requests"),
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"220 mail.isp.example ESMTP\r\n",
        page(b"x" * 70_000),
    ],
)
def test_what_is_no_reply_of_an_authorization_server_is_temporary(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(TokenUnavailableError) as caught:
        asked(url)
    assert "127.0.0.1:" in caught.value.what
    assert "canary" not in f"{caught.value.what} {caught.value.why} {caught.value.remedy}"


def test_an_endless_reply_is_cut_off() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x" * 65536) as url, pytest.raises(TokenUnavailableError):
        asked(url)


def test_a_dripping_reply_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_TIMEOUT_S", 0.3)
    with (
        answering(b"HTTP/1.1 200 OK\r\n\r\n", endless=b" ") as url,
        pytest.raises(TokenUnavailableError, match="did not answer"),
    ):
        asked(url)


def test_a_secret_that_the_server_repeats_is_not_shown() -> None:
    body = b'{"error": "invalid_client", "error_description": "canary-secret is wrong"}'
    with answering(page(body, "401 Unauthorized")) as url, pytest.raises(GrantRefusedError) as caught:
        asked(url)
    assert "[redacted] is wrong" in caught.value.what


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_grant", GrantRefusedError),
        ("invalid_client", GrantRefusedError),
        ("unauthorized_client", ClientRefusedError),
        ("invalid_scope", ClientRefusedError),
        ("something_new", ClientRefusedError),
        ("temporarily_unavailable", TokenUnavailableError),
        ("server_error", TokenUnavailableError),
    ],
)
def test_a_refusal_is_of_its_kind(error: str, kind: type[Exception]) -> None:
    body = f'{{"error": "{error}", "error_description": "no\\u001b[2J"}}'.encode()
    with answering(page(body, "400 Bad Request")) as url, pytest.raises(kind, match=error):
        asked(url)
