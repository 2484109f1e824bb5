"""Scratch files in memory, of which only small windows may be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from ucrmmail.message.arrival import Arrived, arrived


class MemoryFile:
    def __init__(self) -> None:
        self._data = bytearray()
        self._is_open = True

    def close(self) -> None:
        self._is_open = False

    def write(self, data: bytes) -> None:
        assert self._is_open
        self._data += data

    def read(self, size_bytes: int, at: int) -> bytes:
        assert at + size_bytes <= len(self._data), "all of what is asked for has to be there"
        assert self._is_open, "nothing is read from a file that is closed"
        return bytes(self._data[at : at + size_bytes])


class MemoryScratch:
    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes
        self.files: list[MemoryFile] = []

    def new_file(self) -> MemoryFile:
        self.files.append(MemoryFile())
        return self.files[-1]

    def keep(self, kept: object) -> None:
        for file in self.files:
            if file is not kept:
                file.close()


def cut(raw: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Yield a message in pieces of this size."""
    return (raw[at : at + piece_bytes] for at in range(0, len(raw), piece_bytes))


def in_pieces(raw: bytes, piece_bytes: int, window_bytes: int) -> Arrived:
    """Return a message that arrived in pieces and is never in memory as a whole."""
    return arrived((), cut(raw, piece_bytes), MemoryScratch(window_bytes))
