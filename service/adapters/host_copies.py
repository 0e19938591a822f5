"""Ready adapters in this replica's memory: pinned by leases, evicted when they are idle and memory is needed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.adapters.clock import Clock
from service.adapters.counts import StoreTally
from service.adapters.eviction import Held, choose_victims
from service.adapters.lease import Lease
from service.adapters.loader import Loaded
from service.adapters.residency import Resident
from service.values import AdapterRef

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class HostCopy(Generic[T]):
    """One ready adapter."""

    ref: AdapterRef
    loaded: Loaded[T]
    leases: int
    idle_since: float


class HostCopies(Generic[T]):
    """Owns the ready adapters, at most ``host_bytes``. Used on the store's event loop only."""

    def __init__(self, host_bytes: int, clock: Clock, tally: StoreTally) -> None:
        self._host_bytes = host_bytes
        self._clock = clock
        self._tally = tally
        self._ready: dict[str, HostCopy[T]] = {}
        self._room_changed = asyncio.Event()

    @property
    def nbytes(self) -> int:
        return sum(copy.loaded.nbytes for copy in self._ready.values())

    def residency(self) -> list[Resident]:
        """The current state of all ready adapters."""
        now = self._clock.now()
        return [
            Resident(one.ref, "ready", one.loaded.nbytes, one.leases, 0.0 if one.leases else now - one.idle_since)
            for one in self._ready.values()
        ]

    def find(self, digest: str) -> HostCopy[T] | None:
        return self._ready.get(digest)

    def add(self, ref: AdapterRef, loaded: Loaded[T]) -> HostCopy[T]:
        """Add and count a loaded adapter; call ``make_room`` before."""
        self._tally.loaded(loaded.reload_s, loaded.fetch_s)
        copy = self._ready[ref.digest] = HostCopy(ref, loaded, 0, self._clock.now())
        return copy

    # -- leases -----------------------------------------------------------------------------------------------

    def lease(self, copy: HostCopy[T]) -> Lease[T]:
        copy.leases += 1
        return Lease(copy.ref, copy.loaded.adapter, partial(self._end_lease, copy))

    def _end_lease(self, copy: HostCopy[T]) -> None:
        copy.leases -= 1
        if not copy.leases:
            copy.idle_since = self._clock.now()
            self._room_changed.set()

    # -- room -------------------------------------------------------------------------------------------------

    def can_make_room(self, incoming_bytes: int) -> bool:
        """Whether ``incoming_bytes`` would fit after evictions of idle adapters; changes nothing."""
        return self._plan_evictions(incoming_bytes) is not None

    def make_room(self, incoming_bytes: int) -> bool:
        """Evict idle adapters so that ``incoming_bytes`` fit. False, without evictions, if they cannot fit now."""
        victims = self._plan_evictions(incoming_bytes)
        if victims is None:
            return False
        for digest in victims:
            self._drop(digest)
        return True

    async def wait_for_room(self, incoming_bytes: int, give_up: float) -> bool:
        """True once evictions could make room, which another load may use first; False at ``give_up``."""
        while not self.can_make_room(incoming_bytes):
            left = give_up - self._clock.now()
            if left <= 0 or not await self._room_changed_within(left):
                return False
        return True

    def evict(self, digest: str) -> bool:
        """Free an adapter now; False if it is not in memory or a lease pins it."""
        copy = self._ready.get(digest)
        if copy is None or copy.leases:
            return False
        self._drop(digest)
        self._room_changed.set()
        return True

    def clear(self) -> None:
        """Free idle adapters; leased ones are freed when their leases end."""
        self._ready.clear()

    def _plan_evictions(self, incoming_bytes: int) -> tuple[str, ...] | None:
        """Digests to evict so that ``incoming_bytes`` fit, or None if they cannot fit now; changes nothing."""
        now = self._clock.now()
        held = [
            Held(digest, copy.loaded.nbytes, copy.leases, now - copy.idle_since, copy.loaded.reload_s)
            for digest, copy in self._ready.items()
        ]
        return choose_victims(held, incoming_bytes, self._host_bytes)

    def _drop(self, digest: str) -> None:
        copy = self._ready.pop(digest)
        self._tally.evictions += 1
        assert not copy.leases, "a leased adapter was chosen as a victim"
        log.info("adapter evicted", extra={"adapter": str(copy.ref), "digest": digest, "bytes": copy.loaded.nbytes})

    async def _room_changed_within(self, seconds: float) -> bool:
        self._room_changed.clear()
        changed = asyncio.create_task(self._room_changed.wait())
        timer = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({changed, timer}, return_when=asyncio.FIRST_COMPLETED)
            return changed.done()
        finally:
            changed.cancel()
            timer.cancel()
