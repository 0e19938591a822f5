"""Events from a replica to its gateways: one message per engine step, written by the engine's own thread.

::

    engine thread ── put ──► outbox of the gateway ── socket ──► follow() in the gateway

    hello     secret [64 bytes of hex], id of the gateway
    message   as in ``messages``

A Serve stream costs more than a millisecond of processor time per message, and passes through the replica's event
loop, which then holds the GIL when the engine needs it for the next step. Gateways on the same machine connect to a
socket in Linux' abstract namespace, which is no file and not reachable from other machines. Connections must send the
secret, which gateways get over Ray. Messages are plain data, so reading one cannot run code.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from adapters_registry.background import in_background
from service.dispatch.messages import take_messages
from service.dispatch.outbox import Outbox
from service.errors import ReplicaFailed
from service.values import Event

logger = logging.getLogger(__name__)

HELLO_S = 5.0
"""Time limit for a new connection to send the secret."""
MOST_ID = 128
READ = 1 << 16
SECRET = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a replica's events, and the secret that it requires."""

    address: str | tuple[str, int]
    """A name in the abstract namespace, or host and port."""
    secret: str


class Feeds:
    """The replica's side: a listener, and an outbox per gateway. Create and close it on its event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._secret = secrets.token_hex(SECRET // 2)
        self._outboxes: dict[str, Outbox] = {}
        self._listening: dict[str | tuple[str, int], asyncio.Task[None]] = {}
        self._hellos: set[asyncio.Task[None]] = set()
        self._here = f"\0quickchange-{secrets.token_hex(8)}"
        self._there: tuple[str, int] | None = None

    def here(self) -> Endpoint:
        """The endpoint for gateways on this machine."""
        if self._here not in self._listening:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(self._here)
            listener.listen()
            self._listen(listener, self._here)
        return Endpoint(self._here, self._secret)

    def at(self, host: str) -> Endpoint:
        """The endpoint for gateways on other machines, which reach this one at ``host``; opened at the first call."""
        if self._there is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, 0), family=family)
            self._there = (host, int(listener.getsockname()[1]))
            self._listen(listener, self._there)
        return Endpoint(self._there, self._secret)

    def put(self, gateway_id: str, events: Sequence[Event]) -> None:
        """Send ``events`` to the gateway. Callable from any thread."""
        self.outbox(gateway_id).put(events)

    def outbox(self, gateway_id: str) -> Outbox:
        return self._outboxes.get(gateway_id) or self._outboxes.setdefault(gateway_id, Outbox(self._loop))

    def detached(self) -> dict[str, float]:
        """Gateways that are not connected, and when they disconnected (monotonic clock)."""
        # The engine's thread may add one meanwhile. Copying a dictionary is atomic; iterating over it is not.
        return {id: at for id, outbox in self._outboxes.copy().items() if (at := outbox.detached_at) is not None}

    def forget(self, gateway_id: str) -> None:
        """Drop the undelivered events of a gateway that disconnected."""
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
        """Accept connections. Fails if no file descriptor is left, and is then started again."""
        while True:
            connection, _ = await self._loop.sock_accept(listener)
            task = self._loop.create_task(self._welcome(connection))
            self._hellos.add(task)
            task.add_done_callback(self._hellos.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        """Attach a connection that sends the secret; close any other."""
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
            logger.warning("a connection without the secret of this replica requested its events")
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
    """The events of a gateway's requests, about one list per engine step, until either side disconnects.

    Raises ``ReplicaFailed`` if the replica is not reachable or sends an invalid message.
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
            for events in take_messages(unread):
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
        return await asyncio.open_unix_connection(sock=local)  # uvloop supports only files by name
    host, port = endpoint.address
    reader, writer = await asyncio.open_connection(host, port)
    # Keep-alive probes detect a machine that disappeared within about 25 s.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return reader, writer
