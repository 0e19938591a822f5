"""HTTP/1.1 on uvicorn, with bounds on time and header bytes, which uvicorn lacks.

Bytes of a request outside its body are counted before the parser gets them, because the parser copies an incomplete
header again for each piece. The application gets a request only after its headers are complete.
"""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapters_registry.edge.bounds import Bounds
from adapters_registry.edge.close_delimited import CloseDelimited
from adapters_registry.edge.connections import ConnectionReport, Connections, Reason, State, client_of

_log = logging.getLogger(__name__)

PIPELINED = 64
PIPELINED_HEADS = 4
"""Requests that one connection may send before it has their answers. Bounds the sum of their heads to as many times
the bound of one head."""
HEADERS = 200
"""Bound on header lines of a request, each of which takes many times its bytes in memory."""
LINGER_S = 1.0
LINGER_BYTES = 1 << 20
"""Time and bytes for which input after a refusal is read and discarded. If the server closed the connection while
the client still sends, the client would lose the answer."""
SWEEP_S = 1.0
"""Longest time between two checks for connections that were silent too long."""
LOG_EVERY_S = 60.0
"""Least time between two log lines with the number of refused connections."""
SLOWEST_BYTES_S = 1024
"""A client that reads an answer more slowly than this counts as stalled."""


class Listener:
    """State shared by the connections of one server."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.connections: Connections[Connection] = Connections(bounds)
        self._sweeping: asyncio.TimerHandle | None = None
        self._logged_at = 0.0
        self._logged: dict[Reason, int] = {}

    def configure(self, app: ASGIApp, **options: Any) -> uvicorn.Config:
        """uvicorn's configuration for a server with these bounds."""
        return uvicorn.Config(
            app,
            http=partial(Connection, listener=self),  # type: ignore[arg-type]  # uvicorn calls it unless it is a string
            ws="none",
            proxy_headers=False,  # the address that a proxy reports is not used
            backlog=self.bounds.backlog,
            timeout_keep_alive=int(self.bounds.idle_s) + 1,  # longer than idle_s, so that idle_s applies
            log_config=None,
            server_header=False,
            **options,
        )

    def report(self) -> ConnectionReport:
        return self.connections.report()

    def sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keeps one check scheduled as long as there are connections."""
        if self._sweeping is None:
            bounds = self.bounds
            period_s = min(SWEEP_S, bounds.head_s / 4, bounds.idle_s / 4, bounds.stall_s / 4)
            self._sweeping = loop.call_later(period_s, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = None
        now = loop.time()
        for connection, state in self.connections.overdue(now):
            connection.overdue(state)
            self.connections.closed(connection)
        for connection in self.connections.stuck(now):
            if not connection.still_reads(now):
                connection.end(Reason.STALLED)
                self.connections.closed(connection)
        self._log_refused(now)
        if len(self.connections):
            self.sweep_later(loop)

    def _log_refused(self, now: float) -> None:
        refused = self.report().refused
        if refused != self._logged and now - self._logged_at >= LOG_EVERY_S:
            new = {reason.value: count - self._logged.get(reason, 0) for reason, count in refused.items()}
            _log.warning("connections were refused", extra={"refused": {k: v for k, v in new.items() if v}})
            self._logged, self._logged_at = refused, now


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, listener: Listener, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listener = listener
        self._connections = listener.connections
        self._limit = listener.bounds.header_bytes
        self._quiet_bytes = 0
        """Since the last progress of the parser: the end of a head, body bytes, the end of a message."""
        self._in_head = True
        self._asked_anything = False
        self._refusal: tuple[int, str, str, Reason] | None = None
        self._lingers = 0
        self._unsent = (0, 0.0)
        """Bytes that waited for the client to read, and since when."""
        self._ahead_bytes = 0
        """Bytes of the heads of requests received before the current answer is complete."""

    # -- asyncio's calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        goes = self._connections.opened(self, client_of(address), self.loop.time())
        if goes is not None:
            goes[0].transport.abort()
        self._listener.sweep_later(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.stalled(self, self.loop.time())
        self._unsent = (self.transport.get_write_buffer_size(), self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.flows(self)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._discard(len(data))
            return
        self._asked_anything = True
        rest = memoryview(data)
        while rest and self._refusal is None and not self.transport.is_closing():
            # In pieces, so that the parser gets at most twice the bound of a head.
            piece, rest = (rest[: self._limit], rest[self._limit :]) if self._in_head else (rest, rest[:0])
            self._quiet_bytes += len(piece)
            self._feed(piece)
            if self._refusal is None and self._quiet_bytes > self._limit:
                self._refuse(*_TOO_LARGE)

    def _feed(self, data: memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an upgrade to the same protocol: the request is answered without it
        except httptools.HttpParserError:
            if self._refusal is None:
                tls = bytes(data[:1]) == b"\x16"
                self._refuse(*(_TLS if tls else _MALFORMED))
            else:
                self._answer_refusal()

    # -- the parser's calls ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()
        if self.cycle is None or self.cycle.response_complete:
            self._connections.moved(self, State.OPENING, self.loop.time())
            self._unset_keepalive_if_required()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which is ignored
        if len(self.headers) >= HEADERS:
            raise self._refused(*_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._quiet_bytes = 0
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head_bytes > self._limit:
            raise self._refused(*_TOO_LARGE)
        if self.cycle is not None and not self.cycle.response_complete:
            self._ahead_bytes += head_bytes
            if len(self.pipeline) >= PIPELINED or self._ahead_bytes > PIPELINED_HEADS * self._limit:
                raise self._refused(*_PIPELINED)
        self._connections.moved(self, State.BUSY, self.loop.time())
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = CloseDelimited  # uvicorn creates the cycle; it has not started yet

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        self._in_head = True
        super().on_message_complete()

    # -- uvicorn's calls -------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # it would restart with every received byte
        if self.transport.is_closing():
            self._connections.moved(self, State.LEAVING, self.loop.time())
        elif self.cycle.response_complete:  # otherwise a pipelined request is in progress
            self._ahead_bytes = 0
            heading = self._in_head and self._quiet_bytes > 0
            self._connections.moved(self, State.OPENING if heading else State.IDLE, self.loop.time())

    # -- the end ---------------------------------------------------------------------------------------------

    def overdue(self, state: State) -> None:
        """The connection has been in ``state`` for too long."""
        if state is State.OPENING and self._asked_anything:
            self._refuse(*_LATE)
            return
        if state is State.OPENING:
            self._connections.refused(Reason.HEAD_TIMEOUT)
        self.transport.abort()

    def still_reads(self, now: float) -> bool:
        """Whether the client read enough of the waiting answer since the last check."""
        unsent, since = self._unsent
        left = self.transport.get_write_buffer_size()
        if unsent - left < SLOWEST_BYTES_S * (now - since):
            return False
        self._unsent = (left, now)
        self._connections.stalled(self, now)
        return True

    def end(self, reason: Reason) -> None:
        self._connections.refused(reason)
        self.transport.abort()

    def _refused(self, status: int, code: str, message: str, reason: Reason) -> Exception:
        """To be raised inside the parser, which wraps it in its own error."""
        self._refusal = (status, code, message, reason)
        return ValueError(code)

    def _refuse(self, status: int, code: str, message: str, reason: Reason) -> None:
        self._refusal = (status, code, message, reason)
        self._answer_refusal()

    def _answer_refusal(self) -> None:
        assert self._refusal is not None
        status, code, message, reason = self._refusal
        self._connections.refused(reason)
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started or self.pipeline:
                # Another answer is in progress or due first; a second one cannot be written into it.
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False  # nothing can be written any more
            self.cycle.message_event.set()
        problem = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        body = json.dumps({"error": problem}).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-should-retry", b"true" if status == 408 else b"false"),
            (b"connection", b"close"),
        ]
        head = STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(head + b"\r\n" + body)
        self._connections.moved(self, State.LEAVING, self.loop.time())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _discard(self, count: int) -> None:
        self._lingers += count
        if self._lingers > LINGER_BYTES:
            self.transport.abort()


_TOO_LARGE = (431, "headers_too_large", "request line, headers or trailers are too long", Reason.HEADERS_TOO_LARGE)
_MALFORMED = (400, "malformed_request", "this is no HTTP/1.1 request", Reason.MALFORMED)
_TLS = (400, "malformed_request", "this port speaks HTTP without TLS: use http://", Reason.MALFORMED)
_LATE = (
    408,
    "request_timeout",
    "the request's headers did not arrive in time: send them faster",
    Reason.HEAD_TIMEOUT,
)
_PIPELINED = (429, "overloaded", f"over {PIPELINED} requests were sent ahead of their answers", Reason.PIPELINED)
