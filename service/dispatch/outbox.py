"""Events for one gateway, written to its connection by the engine's thread."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence

from service.dispatch.messages import MESSAGE_EVENTS, encode
from service.values import Event


class Outbox:
    """Events for one gateway, merged while it is disconnected or slower than the engine. ``put``: from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.detached_at: float | None = time.monotonic()
        """When the gateway disconnected, on the monotonic clock; None while it is connected."""
        self._loop = loop
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._rest = memoryview(b"")
        """The unsent part of the current message."""
        self._connection: socket.socket | None = None

    def put(self, events: Sequence[Event]) -> None:
        with self._lock:
            full = bool(self._rest or self._events)
            self._events.extend(events)
            if not full:
                self._send()

    def attach(self, connection: socket.socket) -> None:
        """The gateway has connected; replaces an older connection. Call it on the event loop."""
        self._detach()
        with self._lock:
            self._connection, self.detached_at = connection, None
            self._loop.add_reader(connection, self._on_readable, connection)
            self._send()

    def close(self) -> None:
        """Call it on the event loop."""
        self._detach()

    def _send(self) -> None:
        """Send as much as the socket accepts, and the rest when it accepts more. The caller holds the lock."""
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
            self._rest = memoryview(b"")  # the event loop also detects the end of the connection

    def _await_room(self, connection: socket.socket) -> None:
        if self._connection is connection:
            self._loop.add_writer(connection, self._on_room, connection)

    def _on_room(self, connection: socket.socket) -> None:
        self._loop.remove_writer(connection)
        with self._lock:
            self._send()

    def _on_readable(self, connection: socket.socket) -> None:
        """Gateways send nothing after the hello, so this is the end of the connection."""
        if self._connection is connection:
            self._detach()

    def _detach(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            self.detached_at = time.monotonic()
            self._rest = memoryview(b"")  # the gateway has failed the requests of the broken connection
            self._loop.remove_reader(connection)
            self._loop.remove_writer(connection)
            connection.close()
