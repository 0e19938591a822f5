"""A line between a client and a server that breaks when it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

PIECE_BYTES = 1 << 14


class Line:
    """A TCP proxy. Each connection breaks once it has carried as many bytes to the server as its turn in ``cuts``
    says; after the last turn none breaks."""

    def __init__(self, server: str, cuts: list[int]) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname, parts.port)
        self._cuts = iter(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._server)
                cut = next(self._cuts, None)
                threading.Thread(target=self._carry, args=(client, server, cut), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, None), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, left: int | None) -> None:
        with contextlib.suppress(OSError):
            while left is None or left > 0:
                data = source.recv(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
                if not data:
                    break
                target.sendall(data)
                left = None if left is None else left - len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def flaky(server: str, cuts: list[int]) -> Iterator[Line]:
    line = Line(server, cuts)
    try:
        yield line
    finally:
        line.close()
