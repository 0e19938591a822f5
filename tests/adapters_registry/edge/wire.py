"""A small application on the listener, and raw sockets to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from adapters_registry.edge.bounds import Bounds
from adapters_registry.edge.connections import Reason
from adapters_registry.edge.listener import Listener

QUICK = Bounds(total=12, per_address=8, per_loopback=8, head_s=0.4, idle_s=0.6, stall_s=0.6, header_bytes=2048)
PATIENT_S = 20.0
"""No assertion: how long a socket waits before a test is given up."""


@dataclass
class App:
    """Answers by path: ``/slow`` when told, ``/stream`` in two parts, ``/flood`` more than any buffer holds."""

    release: threading.Event = field(default_factory=threading.Event)
    seen: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.seen.append(scope)
        body = b""
        if scope["path"] != "/unread":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
        if scope["path"] == "/slow":
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        if scope["path"] in ("/stream", "/flood"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(2 if scope["path"] == "/stream" else 1000):
                await send(
                    {
                        "type": "http.response.body",
                        "body": b"x" * (5 if scope["path"] == "/stream" else 1 << 16),
                        "more_body": True,
                    }
                )
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        told = json.dumps({"path": scope["path"], "body": len(body)}).encode()
        headers = [(b"content-length", str(len(told)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


@dataclass
class Server:
    """The listener, served by a thread of its own."""

    app: App
    listener: Listener
    port: int

    def connect(self, sent: bytes = b"") -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.port), PATIENT_S)
        if sent:
            line.sendall(sent)
        return line

    def ask(self, sent: bytes) -> bytes:
        """All that comes back until this side's connection is closed by the other."""
        with self.connect(sent) as line:
            return rest(line)

    def get(self, path: str = "/") -> int:
        """The status of a request as a client in good order sends it."""
        return status(self.ask(request(path, "connection: close")))

    def refused(self, reason: Reason) -> int:
        return self.listener.report().refused.get(reason, 0)

    def until(self, held: int) -> None:
        """The server holds so many connections."""
        eventually(lambda: self.listener.report().open == held)


@contextlib.contextmanager
def serving(bounds: Bounds = QUICK, **options: Any) -> Iterator[Server]:
    app, listener = App(), Listener(bounds)
    server = uvicorn.Server(listener.configure(app, host="127.0.0.1", port=0, lifespan="off", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield Server(app, listener, server.servers[0].sockets[0].getsockname()[1])
    finally:
        app.release.set()
        server.should_exit = server.force_exit = True
        thread.join()


def eventually(true: Any) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def request(path: str = "/", *headers: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> bytes:
    head = [f"{method} {path} HTTP/{version}", "host: 127.0.0.1", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def rest(line: socket.socket) -> bytes:
    """What comes until the other side closes, in whatever way."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := line.recv(1 << 16):
            got += piece
    return got


def whole(line: socket.socket) -> bytes:
    """One answer with a length; its head and its body may come apart."""
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        told = [part for part in head.split(b"\r\n") if part.startswith(b"content-length: ")]
        if end and told and len(body) >= int(told[0].partition(b" ")[2]):
            return got
        piece = line.recv(1 << 16)
        assert piece, f"closed after {got!r}"
        got += piece


def status(answer: bytes) -> int:
    """Of the first answer; 0 if none came."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def error(answer: bytes) -> str:
    """The code of a refusal, whose body is the API's error shape."""
    found = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return str(found["code"])


def is_closed(line: socket.socket) -> bool:
    """Whether the other side has closed, without waiting."""
    line.setblocking(False)
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        line.settimeout(PATIENT_S)
