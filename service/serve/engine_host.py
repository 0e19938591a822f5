"""Runs requests on one engine: takes leases, submits, sends frames, and ends every request exactly once.

run(request) ─► leases ─► submit ─► engine thread ─► deliver(events) ─► feed of the gateway
    ▲                                                     │
    └────────── ended, leases released ◄── last finish ───┘
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from adapters_registry.background import in_background
from service.adapters.lease import Leases
from service.dispatch.feed import Feeds
from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    DeadlineExceeded,
    InternalError,
    NonFiniteLogits,
    QuickchangeError,
    ReplicaFailed,
)
from service.report import ReplicaReport
from service.serve.parts import Parts
from service.support.logs import request_id as logged_id
from service.values import AdapterRef, Event, Failure, FinishReason, GenerateRequest

logger = logging.getLogger(__name__)

HEARTBEAT_S = 120.0
"""A longer engine step counts as a hang."""
DETACHED_S = 10.0
"""How long events are kept for a disconnected gateway."""
WATCH_S = 0.25
_BY_WEIGHTS = (NonFiniteLogits.code, AdapterFailed.code)
"""Codes of failures caused by a sequence's adapter, not by its sampling."""
ABORTED = 256
"""Bound on remembered aborts that arrived before their request."""


class _Aborted(Exception):
    """The gateway has cancelled the request."""


@dataclass(slots=True, eq=False)
class _Running:
    """A request in the engine."""

    gateway_id: str
    open: set[int]
    """Choices that have not ended."""
    leases: Leases[Any]
    ended: asyncio.Future[Failure | None]
    owned: tuple[AdapterRef, ...]
    """Those of its adapters that the caller's tenant owns: only the owner's requests can quarantine an adapter."""
    failure: Failure | None = None


class EngineHost:
    """Owns one engine loop and its requests. Belongs to one event loop, which no forward pass blocks."""

    def __init__(self, parts: Parts) -> None:
        self.served = parts.served
        self._store = parts.store
        self._disk_bytes = parts.disk_bytes
        self._running: dict[str, _Running] = {}
        self._loading: dict[str, asyncio.Task[Leases[Any]]] = {}
        """Requests whose adapters are being loaded, and that the engine does not have yet."""
        self._aborted: dict[str, None] = {}
        """Requests that were aborted before they arrived; oldest first."""
        self.feeds = Feeds()
        self._loop = asyncio.get_running_loop()
        self._engine = parts.make_loop(self._deliver)
        self._engine.start()
        self._stopped = False
        self._watch = in_background(self._watch_engine, "watching the engine")

    async def run(self, request: GenerateRequest, gateway_id: str) -> Failure | None:
        """Run a request to its end; returns its failure. Events go to the gateway's feed; cancelling cancels it."""
        logged_id.set(request.request_id)
        try:
            async with asyncio.timeout(request.deadline_s):
                return await self._run(request, gateway_id)
        except _Aborted:
            return None
        except TimeoutError:
            message = f"The request was not finished after {request.deadline_s:g} s."
            return DeadlineExceeded(message).failure()
        except QuickchangeError as error:
            return error.failure()

    def abort(self, request_id: str) -> None:
        """Cancel a request that is running, loading its adapter, or still to arrive. Idempotent."""
        if request_id in self._running:
            self._engine.cancel(request_id)
        elif (loading := self._loading.get(request_id)) is None or not loading.cancel():
            # It has not arrived yet, or it has its leases but its task has not run since.
            self._aborted[request_id] = None
            if len(self._aborted) > ABORTED:
                del self._aborted[next(iter(self._aborted))]

    def inspect(self) -> ReplicaReport:
        """The current state of the replica, also if it is not healthy."""
        store = self._store
        return ReplicaReport(
            self.served, self._engine.snapshot(), store.counts(), store.residency(), self._disk_bytes()
        )

    def check_health(self) -> None:
        """Raises if the engine's thread has ended or hangs."""
        if self._engine.failed is not None:
            raise RuntimeError("the engine's thread died") from self._engine.failed
        if self._stopped:
            raise RuntimeError("the replica is stopped")
        age_s = self._engine.heartbeat_age_s()
        if age_s > HEARTBEAT_S:
            raise RuntimeError(f"the engine has not turned for {age_s:.0f} s")

    async def stop(self) -> None:
        """End the engine's thread; running requests fail. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        self._watch.cancel()
        try:
            await asyncio.to_thread(self._engine.stop)
        finally:  # also if no thread can be started for it: every request must end
            self._fail_all("The replica is stopping.")
            self.feeds.close()

    async def _run(self, request: GenerateRequest, gateway_id: str) -> Failure | None:
        if request.request_id in self._running or request.request_id in self._loading:
            raise InternalError(f"Two requests have the id {request.request_id}.")
        if self._was_aborted(request.request_id):
            raise _Aborted
        if len(request.adapters.parts) > 1:
            raise AdapterIncompatible(f"{request.adapters}: this engine runs a request under one adapter at most")
        leases = await self._lease(request) if request.adapters else Leases[Any]()
        if self._was_aborted(request.request_id):
            leases.release()
            raise _Aborted
        owned = tuple(ref for ref in request.adapters if ref.tenant == request.tenant)
        # From here to the try there is no await, so that a cancellation cannot lose the leases.
        running = _Running(gateway_id, set(range(request.n)), leases, self._loop.create_future(), owned)
        self._running[request.request_id] = running  # before the engine's thread can report an event of it
        try:
            if self._stopped or self._engine.failed is not None:
                raise ReplicaFailed("The engine of this replica has stopped.")
            self._engine.submit(request, next(iter(leases.adapters), None))
        except BaseException:
            del self._running[request.request_id]
            leases.release()
            raise
        try:
            return await asyncio.shield(running.ended)
        except asyncio.CancelledError:
            # The leases are kept until the engine has ended the request: its last step may still read the adapters.
            self._engine.cancel(request.request_id)
            raise

    def _was_aborted(self, request_id: str) -> bool:
        """Whether an abort arrived before the request; removes it."""
        known = request_id in self._aborted
        self._aborted.pop(request_id, None)
        return known

    async def _lease(self, request: GenerateRequest) -> Leases[Any]:
        """The request's leases. Raises ``_Aborted`` if the request is cancelled meanwhile, or the store's errors."""
        loading = asyncio.create_task(self._store.acquire_all(request.adapters, request.tenant))
        self._loading[request.request_id] = loading
        try:
            await asyncio.wait({loading})
        except asyncio.CancelledError:
            # The leases may be granted in the same turn of the loop in which this task is cancelled.
            loading.cancel()
            loading.add_done_callback(_release)
            raise
        finally:
            del self._loading[request.request_id]
        if loading.cancelled():
            raise _Aborted
        return loading.result()

    def _deliver(self, events: list[Event]) -> None:
        """Called on the engine's thread once per step: sends events; only ends are passed to the event loop."""
        frames: dict[str, list[Event]] = {}
        ended = []
        for event in events:
            running = self._running.get(event.request_id)
            if running is None or event.choice not in running.open:
                continue
            frames.setdefault(running.gateway_id, []).append(event)
            if event.finish is not None:
                ended.append(event)
        for gateway_id, frame in frames.items():
            self.feeds.put(gateway_id, frame)
        if not ended:
            return
        try:
            self._loop.call_soon_threadsafe(self._on_ended, ended)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _on_ended(self, events: list[Event]) -> None:
        for event in events:
            running = self._running.get(event.request_id)
            if running is not None and event.choice in running.open:
                self._on_finish(running, event)

    def _on_finish(self, running: _Running, event: Event) -> None:
        running.open.discard(event.choice)
        if event.finish is FinishReason.FAILED and running.failure is None:
            running.failure = event.failure or InternalError("A step of the engine failed.").failure()
            if running.failure.code in _BY_WEIGHTS:
                for ref in running.owned:
                    self._store.blame(ref)
            self._engine.cancel(event.request_id)  # the other choices cannot complete the request
        if not running.open:
            self._end(event.request_id)

    def _end(self, request_id: str) -> None:
        running = self._running.pop(request_id)
        running.leases.release()
        if not running.ended.done():
            running.ended.set_result(running.failure)

    def _fail(self, request_id: str, failure: Failure) -> None:
        running = self._running[request_id]
        events = [Event(request_id, choice, finish=FinishReason.FAILED) for choice in sorted(running.open)]
        self.feeds.put(running.gateway_id, events)
        running.failure = failure
        self._end(request_id)

    def _fail_all(self, message: str) -> None:
        for request_id in list(self._running):
            self._fail(request_id, ReplicaFailed(message).failure())

    async def _watch_engine(self) -> None:
        """Fail all requests if the engine's thread ends, and drop gateways that disconnected."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._engine.failed is not None and self._running:
                logger.error("the engine died with %d requests running", len(self._running))
                self._fail_all("The engine of this replica died.")
            for gateway_id, since in self.feeds.detached().items():
                if time.monotonic() - since >= DETACHED_S:
                    self._drop_gateway(gateway_id)

    def _drop_gateway(self, gateway_id: str) -> None:
        """Cancel the requests of a disconnected gateway, then forget it."""
        mine = [id for id, running in self._running.items() if running.gateway_id == gateway_id]
        for request_id in mine:
            self._engine.cancel(request_id)
        if not mine:
            self.feeds.forget(gateway_id)


def _release(loading: asyncio.Task[Leases[Any]]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().release()
