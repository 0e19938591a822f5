"""Events from a replica to its gateways: one message an engine step, written by the engine's own thread.

::

    engine thread ── put ──► outbox of the gateway ── socket ──► follow() in the gateway

    hello     secret [64 bytes of hex], id of the gateway
    message   length [4 bytes, big-endian], then the events in msgpack

A stream between Ray's deployments cost a millisecond and more of processor time a message, and each had to pass
through the replica's event loop, which held the interpreter's lock while the engine wanted it for the next step.
Gateways of the same machine come by a socket in Linux' abstract namespace: it is no file, and no other machine
reaches it. Only who was told the secret, over Ray, is listened to; what a gateway reads is plain data.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import socket
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import msgpack

from adapters_registry.background import in_background
from service.errors import ReplicaFailed
from service.values import Event, FinishReason, TokenLogprob

logger = logging.getLogger(__name__)

HELLO_S = 5.0
"""How long a newcomer may take to say who it is."""
MOST_ID = 128
MOST_MESSAGE = 64 << 20
"""Bytes: more is no message of ours."""
MESSAGE_EVENTS = 4096
"""Most events of one message: what gathered for a gateway that stood still must stay under ``MOST_MESSAGE``."""
READ = 1 << 16
SECRET = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a replica's events are read, and the word that opens it."""

    address: str | tuple[str, int]
    """A name in the abstract namespace, or host and port."""
    secret: str


def encode(events: Sequence[Event]) -> bytes:
    """One message. An event that cannot be written becomes the failure of its choice: the others are not its own."""
    try:
        body: bytes = msgpack.packb([_fields(event) for event in events])
    except Exception:
        logger.exception("an event cannot be written; its request fails")
        body = msgpack.packb([_fields(_writable(event)) for event in events])
    return len(body).to_bytes(4, "big") + body


def decode(body: bytes | bytearray | memoryview) -> list[Event]:
    """The events of a message without its length. Raises ``ReplicaFailed`` if it is none of ours."""
    try:
        return [_event(*fields) for fields in msgpack.unpackb(body, use_list=False)]
    except Exception as error:  # msgpack's and Python's own, by what the bytes happen to be
        raise ReplicaFailed("The replica sent what is no message.") from error


def _fields(event: Event) -> tuple[object, ...]:
    """What a gateway is told: all but the failure."""
    return event[:-1]


def _writable(event: Event) -> Event:
    try:
        msgpack.packb(_fields(event))
    except Exception:
        return Event(event.request_id, event.choice, finish=FinishReason.FAILED)
    return event


def _event(
    request_id: str,
    choice: int,
    tokens: tuple[int, ...],
    logprobs: tuple[tuple[float, tuple[tuple[int, float], ...]], ...],
    finish: str | None,
    cached_tokens: int,
    stop_token: int | None,
) -> Event:
    told = tuple(TokenLogprob(*one) for one in logprobs)
    reason = FinishReason(finish) if finish else None
    return Event(request_id, choice, tokens, told, reason, cached_tokens, stop_token)


class Outbox:
    """Events for one gateway, merged while it is away or slower than the engine. ``put`` from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.detached_at: float | None = time.monotonic()
        """When the gateway went, on the monotonic clock; None while it is here."""
        self._loop = loop
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._rest = memoryview(b"")
        """Of the message under way."""
        self._connection: socket.socket | None = None

    def put(self, events: Sequence[Event]) -> None:
        with self._lock:
            full = bool(self._rest or self._events)
            self._events.extend(events)
            if not full:
                self._send()

    def attach(self, connection: socket.socket) -> None:
        """The gateway is here, by this connection and no older one. On the event loop."""
        self._detach()
        with self._lock:
            self._connection, self.detached_at = connection, None
            self._loop.add_reader(connection, self._on_readable, connection)
            self._send()

    def close(self) -> None:
        """On the event loop."""
        self._detach()

    def _send(self) -> None:
        """As much as the socket takes; the rest when it takes more. The lock is held."""
        connection = self._connection
        if connection is None:
            return
        try:
            while self._rest or self._events:
                if not self._rest:
                    self._rest = memoryview(encode(self._events[:MESSAGE_EVENTS]))
                    del self._events[:MESSAGE_EVENTS]
                self._rest = self._rest[connection.send(self._rest) :]
        except BlockingIOError:
            self._loop.call_soon_threadsafe(self._await_room, connection)
        except OSError:
            self._rest = memoryview(b"")  # the loop sees the end of the connection as well

    def _await_room(self, connection: socket.socket) -> None:
        if self._connection is connection:
            self._loop.add_writer(connection, self._on_room, connection)

    def _on_room(self, connection: socket.socket) -> None:
        self._loop.remove_writer(connection)
        with self._lock:
            self._send()

    def _on_readable(self, connection: socket.socket) -> None:
        """A gateway says nothing after its hello: this is its end."""
        if self._connection is connection:
            self._detach()

    def _detach(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            self.detached_at = time.monotonic()
            self._rest = memoryview(b"")  # the gateway gave up on what ran over the broken connection
            self._loop.remove_reader(connection)
            self._loop.remove_writer(connection)
            connection.close()


class Feeds:
    """A replica's side: listens, and has an outbox for each gateway. Made and closed on its event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._secret = secrets.token_hex(SECRET // 2)
        self._outboxes: dict[str, Outbox] = {}
        self._listening: dict[str | tuple[str, int], asyncio.Task[None]] = {}
        self._hellos: set[asyncio.Task[None]] = set()
        self._here = f"\0quickchange-{secrets.token_hex(8)}"
        self._there: tuple[str, int] | None = None

    def here(self) -> Endpoint:
        """For gateways of this machine."""
        if self._here not in self._listening:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(self._here)
            listener.listen()
            self._listen(listener, self._here)
        return Endpoint(self._here, self._secret)

    def at(self, host: str) -> Endpoint:
        """For gateways elsewhere, at the address of this machine that they reach; opened when first asked for."""
        if self._there is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, 0), family=family)
            self._there = (host, int(listener.getsockname()[1]))
            self._listen(listener, self._there)
        return Endpoint(self._there, self._secret)

    def put(self, gateway_id: str, events: Sequence[Event]) -> None:
        """From any thread."""
        self.outbox(gateway_id).put(events)

    def outbox(self, gateway_id: str) -> Outbox:
        return self._outboxes.get(gateway_id) or self._outboxes.setdefault(gateway_id, Outbox(self._loop))

    def detached(self) -> dict[str, float]:
        """Gateways that are not here, and when they went on the monotonic clock."""
        # The engine's thread may add one meanwhile. The copy is one step to the interpreter; a list of items is not.
        return {id: at for id, outbox in self._outboxes.copy().items() if (at := outbox.detached_at) is not None}

    def forget(self, gateway_id: str) -> None:
        """Drop what a gateway that went was not told."""
        self._outboxes.pop(gateway_id).close()

    def close(self) -> None:
        """Idempotent."""
        for task in [*self._listening.values(), *self._hellos]:
            task.cancel()
        for outbox in self._outboxes.copy().values():
            outbox.close()

    def _listen(self, listener: socket.socket, address: str | tuple[str, int]) -> None:
        listener.setblocking(False)
        accepting = in_background(lambda: self._accept(listener), "accepting gateways")
        accepting.add_done_callback(lambda _: listener.close())
        self._listening[address] = accepting

    async def _accept(self, listener: socket.socket) -> None:
        """Fails where no descriptor is left, and is tried again."""
        while True:
            connection, _ = await self._loop.sock_accept(listener)
            task = self._loop.create_task(self._welcome(connection))
            self._hellos.add(task)
            task.add_done_callback(self._hellos.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        """Attach who knows the secret, hang up on everybody else."""
        gateway_id = None
        try:
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(HELLO_S):
                    gateway_id = await self._hello(connection)
        finally:
            if gateway_id is None:
                connection.close()
        if gateway_id is None:
            logger.warning("somebody without the secret of this replica asked for its events")
            return
        self.outbox(gateway_id).attach(connection)

    async def _hello(self, connection: socket.socket) -> str | None:
        said = b""
        while not said.endswith(b"\n"):
            more = await self._loop.sock_recv(connection, SECRET + MOST_ID + 1 - len(said))
            if not more:
                return None
            said += more
        if not hmac.compare_digest(said[:SECRET], self._secret.encode()):
            return None
        return said[SECRET:-1].decode(errors="replace")


async def follow(endpoint: Endpoint, gateway_id: str) -> AsyncGenerator[list[Event]]:
    """The events of a gateway's requests, about one list an engine step, until either side hangs up.

    Raises ``ReplicaFailed`` if the replica is not reached or says what is no message.
    """
    try:
        reader, writer = await _connect(endpoint)
    except OSError as error:
        raise ReplicaFailed(f"The replica does not take connections for its events: {error}") from error
    try:
        writer.write(f"{endpoint.secret}{gateway_id}\n".encode())
        unread = bytearray()
        while more := await reader.read(READ):
            unread += more
            for events in _messages(unread):
                yield events
    except OSError as error:
        raise ReplicaFailed("The connection for the replica's events broke.") from error
    finally:
        writer.close()


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(endpoint.address, str):
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(local, endpoint.address)
        except OSError:
            local.close()
            raise
        return await asyncio.open_unix_connection(sock=local)  # by name uvloop knows files only
    host, port = endpoint.address
    reader, writer = await asyncio.open_connection(host, port)
    # A machine that is gone says nothing: find out within about 25 s.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return reader, writer


def _messages(unread: bytearray) -> list[list[Event]]:
    """Takes the whole messages from the front of ``unread``."""
    found, at = [], 0
    while len(unread) - at >= 4:
        length = int.from_bytes(unread[at : at + 4], "big")
        if length > MOST_MESSAGE:
            raise ReplicaFailed(f"The replica announced a message of {length} bytes.")
        if len(unread) - at < 4 + length:
            break
        found.append(decode(bytes(unread[at + 4 : at + 4 + length])))
        at += 4 + length
    del unread[:at]
    return found
