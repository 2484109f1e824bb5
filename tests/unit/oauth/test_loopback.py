"""The port that the browser comes back to answers nobody else."""

from __future__ import annotations

import socket
import threading

import pytest

from ucrmmail.clock import Clock
from ucrmmail.oauth.loopback import Loopback


def said_to(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(4096):
            answer += data
        return answer


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@pytest.mark.parametrize(
    "stray",
    [
        get("/favicon.ico"),
        get("/?code=theirs&state=guessed"),
        get("/?code=theirs"),
        get("/?xstate=right&code=theirs"),
        b"POST /?state=right&code=theirs HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xff",
        b"",
    ],
)
def test_only_the_answer_with_our_state_is_taken(stray: bytes) -> None:
    found: list[str] = []
    with Loopback() as loopback:
        thread = threading.Thread(target=lambda: found.append(loopback.answer("right", clock=Clock(), life_s=20)))
        thread.start()
        assert b" 404 " in said_to(loopback.port, stray)
        assert b" 200 OK" in said_to(loopback.port, get("/?state=right&code=c"))
        thread.join(10)
    assert found == [f"http://127.0.0.1:{loopback.port}/?state=right&code=c"]


def test_nobody_comes_in_time() -> None:
    with Loopback() as loopback:
        assert loopback.answer("right", clock=Clock(), life_s=0.05) == ""
