"""Runs each request on a replica: one call per request, its tokens over the replica's stream of frames.

    generate() ── run(request) ───────────► replica          lasts as long as the request; returns the failure,
        ▲                                       │            and cancelling it cancels the request
        └── Attempt ◄── Streams ◄── frames() ───┘            one message per engine step, for all requests at once

A frame may arrive before the router reports the replica of its request, and the call may end before the last frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

from service.dispatch.attempts import Attempt, Attempts
from service.dispatch.streams import Streams
from service.dispatch.tasks import Tasks
from service.dispatch.transport import Transport
from service.errors import InternalError, NotReady, QuickchangeError, ReplicaFailed, from_failure
from service.report import ReplicaReport
from service.values import Event, Failure, GenerateRequest

logger = logging.getLogger(__name__)

INSPECT_S = 2.0
"""How long a scrape waits for a replica that hangs or is stopping."""
LAST_FRAME_S = 5.0
"""Bounds the time from the end of a successful call to its last frame."""
ATTEMPTS = 2
UNROUTED_RETRY_S = 5.0
"""``Retry-After`` if no replica took the request."""
STOPPING = "The service is stopping."
STOPPING_RETRY_S = 5.0
DRAIN_S = 8.0
"""How long running requests may take to finish once the service stops."""
NOTIFY_S = 1.0
"""Time before the end of ``DRAIN_S`` at which remaining requests are failed, so that clients get the error."""


class Dispatcher:
    """Runs requests over a transport; the ``Generate`` of the API layer is its ``generate``."""

    def __init__(self, transport: Transport, route_s: float) -> None:
        """``route_s`` is how long a request may wait for a replica to take it."""
        self._transport = transport
        self._route_s = route_s
        self._attempts = Attempts()
        self._tasks = Tasks()
        self._streams = Streams(transport, self._attempts, self._tasks)
        self._loop = asyncio.get_running_loop()
        self.refusing = False

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[Event]]:
        """Yield the request's events as they arrive; closing the generator cancels the request on its replica.

        If the replica dies before anything was delivered, the request is retried once, on another replica or on its
        successor. Raises ``ReplicaFailed``, ``DeadlineExceeded`` or the replica's refusal.
        """
        if self.refusing:
            raise NotReady(STOPPING, retry_after_s=STOPPING_RETRY_S)
        deadline = time.monotonic() + request.deadline_s
        delivered = False
        for number in range(1, ATTEMPTS + 1):
            try:
                attempted = self._attempt(_numbered(request, number, deadline), deadline)
                async with contextlib.aclosing(attempted) as frames:
                    async for events in frames:
                        delivered = True
                        yield _renamed(events, request.request_id) if number > 1 else events
                return
            except ReplicaFailed:
                if delivered or number == ATTEMPTS:
                    raise
                logger.warning("replica lost before the first token: retrying", extra=_id(request))

    async def idle(self) -> None:
        """Returns once no request runs."""
        await self._attempts.idle()

    async def inspect(self) -> dict[str, ReplicaReport | None]:
        """The report of each replica of the fleet; None for one that did not answer in time."""
        fleet = sorted(self._streams.fleet)
        asked = [self._tasks.start(self._inspect(replica_id)) for replica_id in fleet]
        return dict(zip(fleet, await asyncio.gather(*asked), strict=True))

    def drain(self) -> None:
        """Refuse new requests. Running ones continue; those that take too long end as ``NotReady``."""
        if not self.refusing:
            self.refusing = True
            self._loop.call_later(DRAIN_S - NOTIFY_S, self._attempts.fail_all, NotReady(STOPPING))

    async def close(self) -> None:
        """Drop every stream; requests still running end as ``NotReady``."""
        self._attempts.fail_all(NotReady(STOPPING))
        await self._tasks.close()

    # Called by the router, which may run on another event loop.

    def fleet_changed(self, replicas: frozenset[str]) -> None:
        self._loop.call_soon_threadsafe(self._streams.fleet_is, replicas)

    def request_routed(self, request_id: str, replica_id: str) -> None:
        self._loop.call_soon_threadsafe(self._on_routed, request_id, replica_id)

    def _on_routed(self, request_id: str, replica_id: str) -> None:
        attempt = self._attempts.get(request_id)
        if attempt is not None:
            attempt.replica_id = replica_id

    async def _attempt(self, request: GenerateRequest, deadline: float) -> AsyncGenerator[list[Event]]:
        attempt = self._attempts.begin(request)
        call = self._tasks.start(self._transport.run(request))
        call.add_done_callback(lambda call: self._on_call_ended(attempt, call))
        # Without any replica, Serve's router would hold a request forever.
        unrouted = self._loop.call_later(self._route_s, self._on_unrouted, attempt)
        try:
            while attempt.is_open:
                await attempt.wait(deadline)
                if events := attempt.take():
                    yield events
                elif attempt.error is not None:
                    raise attempt.error
        finally:
            unrouted.cancel()
            self._attempts.end(attempt)
            self._let_go(attempt, call)

    def _let_go(self, attempt: Attempt, call: asyncio.Task[Failure | None]) -> None:
        """Cancel the call, unless all choices have ended and it will end by itself."""
        replica_id, fleet = attempt.replica_id, self._streams.fleet
        if not call.done() and attempt.open_choices:
            call.cancel()
            # Serve loses a cancellation between the assignment and the first await of the answer. The abort is
            # idempotent and makes sure that no rows are computed for an abandoned request.
            if replica_id is not None and replica_id in fleet:
                self._tasks.start(self._abort(replica_id, attempt.request.request_id))
        if replica_id is not None and replica_id not in fleet:
            self._streams.retire(replica_id)

    def _on_unrouted(self, attempt: Attempt) -> None:
        if attempt.replica_id is None:
            message = f"No replica took the request within {self._route_s:g} s: retry later."
            attempt.fail(NotReady(message, retry_after_s=UNROUTED_RETRY_S))

    async def _inspect(self, replica_id: str) -> ReplicaReport | None:
        try:
            async with asyncio.timeout(INSPECT_S):
                return await self._transport.inspect(replica_id)
        except (QuickchangeError, TimeoutError) as error:
            logger.warning("replica does not report its state: %s", error, extra={"replica": replica_id})
            return None

    async def _abort(self, replica_id: str, request_id: str) -> None:
        try:
            await self._transport.abort(replica_id, request_id)
        except QuickchangeError as error:
            logger.debug("abort did not arrive: %s", error)

    def _on_call_ended(self, attempt: Attempt, call: asyncio.Task[Failure | None]) -> None:
        if call.cancelled():
            attempt.fail(ReplicaFailed("The call to the replica was cancelled."))
        elif (error := call.exception()) is not None:
            attempt.fail(error if isinstance(error, QuickchangeError) else _unexpected(attempt, error))
        elif (failure := call.result()) is not None:
            attempt.fail(from_failure(failure))
        elif attempt.open_choices or attempt.spoiled:
            late = ReplicaFailed("The replica ended the request without its last tokens.")
            self._loop.call_later(LAST_FRAME_S, attempt.fail, late)


def _unexpected(attempt: Attempt, error: BaseException) -> QuickchangeError:
    logger.error("the call failed", exc_info=error, extra=_id(attempt.request))
    return InternalError("The call to the replica failed; the log has the reason under the request id.")


def _numbered(request: GenerateRequest, number: int, deadline: float) -> GenerateRequest:
    """The request as attempt number ``number``: another id, so that stale frames cannot be taken for its own."""
    if number == 1:
        return request
    left = max(0.0, deadline - time.monotonic())
    return replace(request, request_id=f"{request.request_id}~{number}", deadline_s=left)


def _renamed(events: list[Event], request_id: str) -> list[Event]:
    return [event._replace(request_id=request_id) for event in events]


def _id(request: GenerateRequest) -> dict[str, str]:
    return {"request_id": request.request_id}
