"""The middleware around all routes: bounds on headers and body, and one log line per request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_registry.edge.headers import coding
from adapters_registry.support.threads import NO_THREAD, is_no_thread
from service.api.access_log import Line, log_request
from service.api.disconnect import ClientGone
from service.api.edge import stamp_of
from service.api.exchange import Exchange, attach
from service.api.status import DISCONNECTED, error_response
from service.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    InvalidValue,
    Overloaded,
    QuickchangeError,
    RequestTimeout,
    UnsupportedMediaType,
)
from service.metrics import GatewayMetrics
from service.settings import Limits
from service.support import logs

log = logging.getLogger(__name__)

BODY_READ_S = 30.0
"""Time for a body to arrive, counted from the request's arrival; slow senders occupy a place."""
DISCARD_S = 2.0
DISCARD_TIMES = 16
"""Time, and multiple of the cap, for which an oversized body is read and discarded before it is refused. If the
connection were closed while the client still sends, the client would lose the answer."""


@dataclass
class _Sent:
    status: int | None = None


class Guard:
    """Pure ASGI. Buffers no body: it counts bytes as the route reads them."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: GatewayMetrics, body_read_s: float = BODY_READ_S
    ) -> None:
        self._app = app
        self._limits = limits
        self._body_read_s = body_read_s
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stamp = stamp_of(scope)
        theirs = stamp.correlation
        exchange = Exchange(stamp.request_id, scope["method"], theirs.client_request_id, theirs.traceparent)
        attach(scope, exchange)
        token = logs.request_id.set(exchange.request_id)
        sent = _Sent()

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.status = message["status"]
                MutableHeaders(scope=message).update(exchange.headers)
            await send(message)

        body = _Body(receive, self._limits, exchange.arrived + self._body_read_s)
        try:
            self._check(scope)
            await self._app(scope, body.receive, send_noting)
        except (ClientGone, ClientDisconnect):
            sent.status = DISCONNECTED
        except asyncio.CancelledError:
            sent.status = DISCONNECTED
            raise
        except QuickchangeError as error:
            exchange.error, exchange.reason = error.code, error.reason
            if isinstance(error, BodyTooLarge) and not _waits_to_send(scope):
                await body.discard()
            await error_response(error)(scope, receive, send_noting)
        except Exception as error:
            # Any exception of a defect becomes an error answer here; its trace is logged under the request's id.
            log.exception("a request failed unexpectedly")
            unexpected = _unexpected(error)
            exchange.error = unexpected.code
            if sent.status is not None:
                raise
            await error_response(unexpected)(scope, receive, send_noting)
        finally:
            line = Line.of(exchange, sent.status, getattr(scope.get("route"), "path", None))
            log_request(line)
            self._metrics.request_ended(line)
            logs.request_id.reset(token)

    def _check(self, scope: Scope) -> None:
        header_bytes = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        header_bytes += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if header_bytes > self._limits.header_bytes:
            raise HeadersTooLarge(f"request line and headers are over {self._limits.header_bytes} bytes")
        compressed = coding(scope["headers"])
        if compressed is not None:
            raise UnsupportedMediaType(
                f"the body's Content-Encoding is {compressed!r}: send it uncompressed, without that header",
                param="content-encoding",
            )
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit():
            raise InvalidValue("content-length is not a number", param="content-length")
        if len(length) > 18 or int(length) > self._limits.body_bytes:  # int() refuses thousands of digits
            raise _too_large(self._limits)


def _unexpected(error: Exception) -> QuickchangeError:
    if is_no_thread(error):
        return Overloaded(f"come back later: {NO_THREAD}")
    return InternalError("internal error; its cause is in the log under this request's id")


class _Body:
    """``receive`` with a cap on its bytes and on the time until its last one."""

    def __init__(self, receive: Receive, limits: Limits, until: float) -> None:
        self._receive = receive
        self._limits = limits
        self._until = until
        self._bytes = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout("the request body did not arrive in time: send it faster") from error
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._bytes > self._limits.body_bytes:
                raise _too_large(self._limits)
        return message

    async def discard(self) -> None:
        """Read and discard the rest of the body, within bounds."""
        left = DISCARD_TIMES * self._limits.body_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while left > 0 and not self._complete:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._complete = not message.get("more_body", False)


def _waits_to_send(scope: Scope) -> bool:
    """Whether the client waits for ``100 Continue`` before it sends its body."""
    return dict(scope["headers"]).get(b"expect", b"").lower() == b"100-continue"


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"the request body is over {limits.body_bytes} bytes: send less in one request")
