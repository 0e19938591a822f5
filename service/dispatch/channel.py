"""The gateway's side of the transport: one call a request, one stream of frames a replica.

    generate() ── run(request) ───────────► replica          lasts as long as the request; its answer is the truth
        ▲                                       │            about failure, its cancellation cancels
        └── Pending ◄── _on_frame ◄── frames() ─┘            one message an engine step, for all requests at once

A frame may come before the router said who took the request, and the call may end before the last frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from adapters_registry.background import is_ending
from service.errors import DeadlineExceeded, InternalError, NotReady, QuickchangeError, ReplicaFailed, from_failure
from service.report import ReplicaReport
from service.values import Event, Failure, FinishReason, GenerateRequest

logger = logging.getLogger(__name__)

INSPECT_S = 2.0
"""How long a scrape waits for a replica that hangs or is going away."""
LAST_FRAME_S = 5.0
"""How long the last frame may come after its call ended well."""
REATTACH_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses before a broken stream is opened again."""
ATTEMPTS = 2
UNROUTED_RETRY_S = 5.0
"""When a client that found no replica may come back."""
PACE_FROM = 4
"""Up to so many streams at once every event is told as it comes."""
PACE_EACH_S = 0.002
PACE_MOST_S = 0.1
"""How much longer events gather for each stream, and the longest that a reader is left without what is there.

Gateway and client share the engine's cores on a small machine; with half of these 32 readers of the base kept 0.79 of
the engine's throughput, with these 0.85, in runs an hour and several other changes apart."""
STOPPING = "The service is stopping."
STOPPING_RETRY_S = 5.0
DRAIN_S = 8.0
"""How long running requests may take to finish once the service stops."""
LAST_WORDS_S = 1.0
"""How long before the end of that the rest are failed, so that their clients hear it."""

T = TypeVar("T")


class Transport(Protocol):
    """Calls to replicas. Raises ``QuickchangeError`` only; ``ReplicaFailed`` means that the replica is gone."""

    async def run(self, request: GenerateRequest) -> Failure | None: ...

    def frames(self, replica_id: str) -> AsyncGenerator[list[Event]]: ...

    async def abort(self, replica_id: str, request_id: str) -> None: ...

    async def inspect(self, replica_id: str) -> ReplicaReport: ...


@dataclass(slots=True, eq=False)
class _Pending:
    """One attempt at a request, between its call and its consumer."""

    request: GenerateRequest
    replica_id: str | None = None
    """Known once routed."""
    events: deque[Event] = field(default_factory=deque)
    open_choices: int = 0
    spoiled: bool = False
    """A choice failed or was cancelled: its call knows why."""
    error: QuickchangeError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """There is something to take or to raise."""
    begun: bool = False
    """Its first events were taken."""

    def take(self) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        self.changed.clear()
        self.begun = self.begun or bool(events)
        return events


class Dispatcher:
    """Runs requests over a transport; the ``Generate`` of the API layer is its ``generate``."""

    def __init__(self, transport: Transport, route_s: float) -> None:
        """``route_s`` is how long a request may wait for a replica to take it."""
        self._transport = transport
        self._route_s = route_s
        self._pending: dict[str, _Pending] = {}
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._fleet: frozenset[str] = frozenset()
        self._ended = asyncio.Event()
        """Set whenever an attempt ends."""
        self._loop = asyncio.get_running_loop()
        self._held: set[_Pending] = set()
        """Whose events gather until the pace's next beat."""
        self.refusing = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[Event]]:
        """Yield the request's events as they come; closing it cancels the request on its replica.

        A replica that dies before anything was delivered costs one retry on another or on its successor.
        Raises ``ReplicaFailed``, ``DeadlineExceeded`` or what the replica refused with.
        """
        if self.refusing:
            raise NotReady(STOPPING, retry_after_s=STOPPING_RETRY_S)
        deadline = time.monotonic() + request.deadline_s
        delivered = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                attempted = self._attempt(_numbered(request, attempt, deadline), deadline)
                async with contextlib.aclosing(attempted) as frames:
                    async for events in frames:
                        delivered = True
                        yield _renamed(events, request.request_id) if attempt > 1 else events
                return
            except ReplicaFailed:
                if delivered or attempt == ATTEMPTS:
                    raise
                logger.warning("replica lost before the first token: retrying", extra=_id(request))

    async def idle(self) -> None:
        """Returns once no request runs."""
        while self._pending:
            self._ended.clear()
            await self._ended.wait()

    async def inspect(self) -> dict[str, ReplicaReport | None]:
        """What each replica of the fleet says of itself; None for one that did not answer in time."""
        fleet = sorted(self._fleet)
        asked = [self._task(self._inspect(replica_id)) for replica_id in fleet]
        return dict(zip(fleet, await asyncio.gather(*asked), strict=True))

    def drain(self) -> None:
        """Take no new request; the running ones go on, and those that take too long end as ``NotReady``."""
        if not self.refusing:
            self.refusing = True
            self._loop.call_later(DRAIN_S - LAST_WORDS_S, self._fail_all, NotReady(STOPPING))

    async def close(self) -> None:
        """Drop every stream; requests still running end as ``NotReady``."""
        self._fail_all(NotReady(STOPPING))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the router tells; it may run in a loop of its own.

    def fleet_changed(self, replicas: frozenset[str]) -> None:
        self._loop.call_soon_threadsafe(self._on_fleet, replicas)

    def request_routed(self, request_id: str, replica_id: str) -> None:
        self._loop.call_soon_threadsafe(self._on_routed, request_id, replica_id)

    def _on_fleet(self, replicas: frozenset[str]) -> None:
        self._fleet = replicas
        for replica_id in replicas - self._streams.keys():
            self._streams[replica_id] = self._task(self._follow(replica_id))
        for replica_id in self._streams.keys() - replicas:
            self._retire(replica_id)

    def _on_routed(self, request_id: str, replica_id: str) -> None:
        pending = self._pending.get(request_id)
        if pending is not None:
            pending.replica_id = replica_id

    async def _attempt(self, request: GenerateRequest, deadline: float) -> AsyncGenerator[list[Event]]:
        if request.request_id in self._pending:
            raise InternalError(f"Two requests have the id {request.request_id}.")
        pending = _Pending(request, open_choices=request.n)
        self._pending[request.request_id] = pending
        call = self._task(self._transport.run(request))
        call.add_done_callback(lambda call: self._on_call_ended(pending, call))
        # With no replica alive Serve's router keeps a request without end.
        unrouted = self._loop.call_later(self._route_s, self._on_unrouted, pending)
        try:
            # A consumer that awaits between two lists finds the rest here after the last choice has ended.
            while pending.open_choices or pending.spoiled or pending.events:
                await _wait(pending, deadline)
                if events := pending.take():
                    yield events
                elif pending.error is not None:
                    raise pending.error
        finally:
            unrouted.cancel()
            del self._pending[request.request_id]
            self._ended.set()
            self._let_go(pending, call)

    def _let_go(self, pending: _Pending, call: asyncio.Task[Failure | None]) -> None:
        """Leave the call to end by itself if all choices did, else cancel it."""
        if not call.done() and pending.open_choices:
            call.cancel()
            # Serve loses a cancellation that falls between assignment and the first await of the answer; this
            # second way is idempotent and makes sure that no row is computed for nobody.
            if pending.replica_id is not None and pending.replica_id in self._fleet:
                self._task(self._abort(pending.replica_id, pending.request.request_id))
        if pending.replica_id is not None and pending.replica_id not in self._fleet:
            self._retire(pending.replica_id)

    def _on_unrouted(self, pending: _Pending) -> None:
        if pending.replica_id is None:
            message = f"No replica took the request within {self._route_s:g} s: retry later."
            _fail(pending, NotReady(message, retry_after_s=UNROUTED_RETRY_S))

    async def _inspect(self, replica_id: str) -> ReplicaReport | None:
        try:
            async with asyncio.timeout(INSPECT_S):
                return await self._transport.inspect(replica_id)
        except (QuickchangeError, TimeoutError) as error:
            logger.warning("replica does not say how it is: %s", error, extra={"replica": replica_id})
            return None

    async def _abort(self, replica_id: str, request_id: str) -> None:
        try:
            await self._transport.abort(replica_id, request_id)
        except QuickchangeError as error:
            logger.debug("abort did not arrive: %s", error)

    def _task(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Run ``work`` in a context of its own, kept until done.

        Serve keeps the request under way in the context, and calls made inside it would share its id, by which
        the router tells pending requests apart: the second would wait for ever.
        """
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_call_ended(self, pending: _Pending, call: asyncio.Task[Failure | None]) -> None:
        if call.cancelled():
            _fail(pending, ReplicaFailed("The call to the replica was cancelled."))
        elif (error := call.exception()) is not None:
            _fail(pending, error if isinstance(error, QuickchangeError) else _unexpected(pending, error))
        elif (failure := call.result()) is not None:
            _fail(pending, from_failure(failure))
        elif pending.open_choices or pending.spoiled:
            late = ReplicaFailed("The replica ended the request without its last tokens.")
            self._loop.call_later(LAST_FRAME_S, _fail, pending, late)

    async def _follow(self, replica_id: str) -> None:
        """Keep one stream of frames open while the fleet has the replica."""
        tries = 0
        while True:
            try:
                async with contextlib.aclosing(self._transport.frames(replica_id)) as frames:
                    async for frame in frames:
                        tries = 0
                        self._on_frame(frame, replica_id)
                logger.info("frames ended", extra={"replica": replica_id})
            except QuickchangeError as error:
                logger.warning("frames broke: %s", error, extra={"replica": replica_id})
            except Exception:
                # A defect must not leave the replica unheard: it costs what runs there, and the stream is reopened.
                if is_ending():
                    raise
                logger.exception("frames broke", extra={"replica": replica_id})
            # Frames sent into a broken stream are lost, so nothing that ran over it can be completed.
            for pending in self._on(replica_id):
                _fail(pending, ReplicaFailed("The replica that ran the request went away."))
            if replica_id not in self._fleet:
                self._streams.pop(replica_id, None)
                return
            await asyncio.sleep(REATTACH_S[min(tries, len(REATTACH_S) - 1)])
            tries += 1

    def _retire(self, replica_id: str) -> None:
        """Close the stream of a replica that left, once nothing of ours runs there."""
        if not any(self._on(replica_id)) and (stream := self._streams.pop(replica_id, None)):
            stream.cancel()

    def _fail_all(self, error: QuickchangeError) -> None:
        for pending in self._pending.values():
            _fail(pending, error)

    def _on(self, replica_id: str) -> list[_Pending]:
        return [pending for pending in self._pending.values() if pending.replica_id == replica_id]

    def _on_frame(self, frame: list[Event], replica_id: str) -> None:
        for event in frame:
            pending = self._pending.get(event.request_id)
            if pending is None or pending.spoiled:
                continue  # given up by its consumer; the cancellation is on its way
            pending.replica_id = replica_id
            pending.open_choices -= event.finish is not None
            if event.finish in (FinishReason.FAILED, FinishReason.CANCELLED):
                pending.spoiled = True
                continue
            pending.events.append(event)
            if not pending.begun or event.finish is not None:
                pending.changed.set()
            elif not pending.changed.is_set():
                self._hold(pending)

    def _hold(self, pending: _Pending) -> None:
        """Let further events gather before the consumer is told: a message a token would cost more than the token."""
        if not self._held:
            # Those that wait for their first token cost no messages: many of them must not slow those that stream.
            pause_s = pace_s(sum(one.begun for one in self._pending.values()))
            if not pause_s:
                pending.changed.set()
                return
            self._loop.call_later(pause_s, self._tell_held)
        self._held.add(pending)

    def _tell_held(self) -> None:
        held, self._held = self._held, set()
        for pending in held:
            pending.changed.set()


def pace_s(streams: int) -> float:
    """How long the events of one stream gather after its first, where so many run at once."""
    return 0.0 if streams <= PACE_FROM else min(PACE_MOST_S, streams * PACE_EACH_S)


async def _wait(pending: _Pending, deadline: float) -> None:
    """Until there is something to take or to raise."""
    if pending.error is not None:
        return
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await pending.changed.wait()
    except TimeoutError:
        raise DeadlineExceeded(f"The request was not finished after {pending.request.deadline_s:g} s.") from None


def _fail(pending: _Pending, error: QuickchangeError) -> None:
    pending.error = pending.error or error
    pending.changed.set()


def _unexpected(pending: _Pending, error: BaseException) -> QuickchangeError:
    logger.error("the call failed", exc_info=error, extra=_id(pending.request))
    return InternalError("The call to the replica failed; the log has the reason under the request id.")


def _numbered(request: GenerateRequest, attempt: int, deadline: float) -> GenerateRequest:
    """The request as attempt number ``attempt``: another id, so that stale frames cannot be taken for its own."""
    if attempt == 1:
        return request
    left = max(0.0, deadline - time.monotonic())
    return replace(request, request_id=f"{request.request_id}~{attempt}", deadline_s=left)


def _renamed(events: list[Event], request_id: str) -> list[Event]:
    return [event._replace(request_id=request_id) for event in events]


def _id(request: GenerateRequest) -> dict[str, str]:
    return {"request_id": request.request_id}
