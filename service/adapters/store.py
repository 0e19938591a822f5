"""Adapters in this replica's memory: loaded once, leased by what runs, evicted when idle.

::

                    acquire                       loaded, room
    absent ───────────────────────► fetching ─────────────────────► ready ─┐
      ▲  ▲                             │  │                        │  ▲    │ acquire, release
      │  │          nobody waits       │  │ failed                 │  └────┘
      │  └─────────────────────────────┘  ▼                        │
      │         retry time          failed(retry at)               │
      └──────────────────────────────────┴─────────────────────────┘
                                             idle, and room is needed

Tenants that hold the same bytes share an entry, so what callers are told names a digest and no adapter.

All state belongs to one event loop; only ``Loader.load`` runs in threads. Between two awaits nothing else
happens, so each decision sees and changes one consistent state.

Longer than other files: every method is a transition of the one state machine above.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from adapters_registry.edge.shares import Gate, Ticket
from service.adapters.clock import Clock, SystemClock
from service.adapters.counts import StoreCounts, StoreTally
from service.adapters.eviction import Held, choose_victims
from service.adapters.failures import Failures
from service.adapters.lease import Lease, Leases
from service.adapters.loader import Loaded, Loader
from service.adapters.residency import Resident
from service.adapters.strikes import Strikes
from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    AdapterQuarantined,
    NonFiniteLogits,
    Overloaded,
    QuickchangeError,
    from_failure,
)
from service.settings import AdapterOptions
from service.support.threads import stay_behind
from service.values import AdapterRef, AdapterSet

log = logging.getLogger(__name__)

T = TypeVar("T")

LOAD_SHARE = 0.75
"""Of the load slots, for one tenant alone."""
ROOM_WAIT_S = 10.0
"""How long a loaded adapter waits for running ones to end where all memory is pinned."""


@dataclass(slots=True, eq=False)
class _Ready(Generic[T]):
    ref: AdapterRef
    loaded: Loaded[T]
    leases: int
    idle_since: float


@dataclass(slots=True, eq=False)
class _Fetching(Generic[T]):
    ref: AdapterRef
    tenants: list[str]
    """Who wants it, in the order in which they came."""
    ticket: Ticket | None = None
    """While it waits for a load slot or has one."""
    waiters: list[asyncio.Future[Lease[T]]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def waiting(self) -> list[asyncio.Future[Lease[T]]]:
        return [waiter for waiter in self.waiters if not waiter.done()]


class AdapterStore(Generic[T]):
    """Owns the host copies, at most ``host_bytes`` of them.

    Over that bound by at most the adapters being loaded (``load_threads`` of them): a newcomer is loaded before
    anything is evicted for it, so that a failed load costs no other adapter its place. Where running adapters pin
    all memory, the newcomer is given up, waits ``room_wait_s`` for one to end and is loaded again, or its requests
    are refused as overloaded. Load slots are shared by the tenants that ask.
    """

    def __init__(
        self,
        loader: Loader[T],
        options: AdapterOptions,
        clock: Clock | None = None,
        room_wait_s: float = ROOM_WAIT_S,
    ) -> None:
        self._loader = loader
        self._options = options
        self._clock = clock or SystemClock()
        self._room_wait_s = room_wait_s
        self._ready: dict[str, _Ready[T]] = {}
        self._fetching: dict[str, _Fetching[T]] = {}
        self._failures = Failures(self._clock, options.retry_after_s, options.quarantine_s)
        self._strikes = Strikes(self._clock, options.quarantine_s)
        self._slots = Gate(options.load_threads, LOAD_SHARE)
        self._pool = ThreadPoolExecutor(options.load_threads, "adapter-load", initializer=stay_behind)
        self._room_changed = asyncio.Event()
        self._tally = StoreTally(options.host_bytes)

    async def acquire(self, ref: AdapterRef, tenant: str | None = None) -> Lease[T]:
        """A lease on ``ref``, loading it if need be; one load serves all who ask meanwhile.

        The load takes of the share of ``tenant``, who asks; by default of the adapter's own.

        Raises ``AdapterFailed`` and ``AdapterQuarantined`` (with ``retry_after_s``), ``AdapterIncompatible``,
        ``NonFiniteLogits``, ``ModelNotFound`` or ``Overloaded``. Cancelling it cancels no one else's load.
        """
        try:
            self._failures.check(ref)
        except QuickchangeError:
            self._tally.refused += 1
            raise
        entry = self._ready.get(ref.digest)
        if entry is not None:
            self._tally.hits += 1
            return self._lease(entry)
        self._tally.misses += 1
        waiter: asyncio.Future[Lease[T]] = asyncio.get_running_loop().create_future()
        self._join(ref, tenant or ref.tenant).waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # The lease may have been handed over in the same turn of the loop in which we are cancelled.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().release()
            raise

    async def acquire_all(self, adapters: AdapterSet, tenant: str | None = None) -> Leases[T]:
        """Leases on all parts or on none. Raises what ``acquire`` raises for the first part that fails.

        A set that waits for memory holds what it has for at most ``room_wait_s``, so two sets that want each other's
        room do not wait for ever.
        """
        held: list[Lease[T]] = []
        try:
            for ref in adapters:
                held.append(await self.acquire(ref, tenant))
        except BaseException:
            Leases(held).release()
            raise
        return Leases(held)

    def blame(self, ref: AdapterRef) -> None:
        """A request of the adapter's owner failed by its weights; the third quarantines it on this replica.

        ``ref`` as the request named it: other tenants that hold the same bytes, and running leases, go on.
        """
        if not self._strikes.add(ref):
            return
        self._tally.quarantines["requests"] += 1
        log.warning("adapter quarantined", extra={"adapter": str(ref), "digest": ref.digest})
        reason = f"adapter {ref} is not run here for a while: three requests of its owner had no finite logit"
        self._failures.remember(ref, AdapterQuarantined(reason))

    def residency(self) -> tuple[Resident, ...]:
        """What is here, being loaded or remembered as failed, as of now."""
        now = self._clock.now()
        fetching = [Resident(entry.ref, "fetching", leases=len(entry.waiting())) for entry in self._fetching.values()]
        ready = [
            Resident(
                entry.ref, "ready", entry.loaded.nbytes, entry.leases, 0.0 if entry.leases else now - entry.idle_since
            )
            for entry in self._ready.values()
        ]
        return (*ready, *fetching, *self._failures.residency())

    def counts(self) -> StoreCounts:
        """What was done so far."""
        return self._tally.seen()

    @property
    def resident_bytes(self) -> int:
        """Bytes of the adapters that are ready."""
        return sum(entry.loaded.nbytes for entry in self._ready.values())

    def evict(self, digest: str) -> bool:
        """Free an adapter now; False if it is not here or a lease pins it."""
        entry = self._ready.get(digest)
        if entry is None or entry.leases:
            return False
        self._drop(digest)
        self._room_changed.set()
        return True

    async def close(self) -> None:
        """Give up what is being loaded and free what is idle; leased adapters go with their leases."""
        tasks = [entry.task for entry in self._fetching.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._ready.clear()

    def __repr__(self) -> str:
        """``<AdapterStore 3.1/1024.0 MiB: acme/support@3 ready 2 leases | globex/x@1 fetching 3 waiting>``"""
        mib = 1 << 20
        head = f"{self.resident_bytes / mib:.1f}/{self._options.host_bytes / mib:.1f} MiB"
        return f"<AdapterStore {head}: {' | '.join(map(str, self.residency())) or 'empty'}>"

    # -- one load ---------------------------------------------------------------------------------------------

    def _join(self, ref: AdapterRef, tenant: str) -> _Fetching[T]:
        entry = self._fetching.get(ref.digest)
        if entry is None:
            entry = self._fetching[ref.digest] = _Fetching(ref, [tenant])
            entry.task = asyncio.create_task(self._fetch(entry), name=f"load {ref}")
        elif tenant not in entry.tenants:
            # It does not stand behind everything that the first one wants.
            entry.tenants.append(tenant)
            if entry.ticket is not None:
                self._slots.also(entry.ticket, tenant)
        return entry

    async def _fetch(self, entry: _Fetching[T]) -> None:
        """Ends with every waiter answered and ``entry`` out of ``_fetching``, whatever happens."""
        try:
            give_up = wanted = None
            while (wanted := await self._load_in_turn(entry, wanted)) is not None:
                give_up = give_up or self._clock.now() + self._room_wait_s
                await self._wait_for_room(entry, wanted, give_up)
        except asyncio.CancelledError:
            self._refuse(entry, AdapterFailed("the service is stopping"))
            raise
        except QuickchangeError as error:
            self._refuse(entry, error)
        except Exception:
            # A defect of a loader or an engine must fail this adapter's requests and no others.
            log.exception("adapter load failed", extra={"adapter": str(entry.ref), "digest": entry.ref.digest})
            self._refuse(entry, AdapterFailed(f"adapter {entry.ref.digest} could not be loaded: internal error"))
        finally:
            self._fetching.pop(entry.ref.digest, None)

    async def _load_in_turn(self, entry: _Fetching[T], wanted: int | None) -> int | None:
        """Load and admit it; or the bytes that there is no room for now, which are given up again.

        ``wanted`` are its bytes once they are known: of several that wait for the same room only one reads its slab.

        So what waits for running adapters holds neither a load slot nor memory; its slab is on the disk by then.
        """
        entry.ticket = ticket = self._slots.ask(entry.tenants[0])
        try:
            for tenant in entry.tenants[1:]:
                self._slots.also(ticket, tenant)
            await self._slots.granted(ticket)
            if wanted is not None and self._plan_evictions(wanted) is None:
                return wanted
            # All who wanted it may have gone while it queued; if one comes later, it starts anew.
            return await self._load(entry) if entry.waiting() else None
        finally:
            entry.ticket = None
            self._slots.leave(ticket)

    async def _load(self, entry: _Fetching[T]) -> int | None:
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._pool, self._loader.load, entry.ref)
        if loaded.nbytes > self._options.host_bytes:
            raise AdapterIncompatible(
                f"adapter {entry.ref.digest} takes {loaded.nbytes} bytes and the store holds "
                f"{self._options.host_bytes}; raise adapters.host_bytes"
            )
        victims = self._plan_evictions(loaded.nbytes)
        if victims is None:
            return loaded.nbytes
        for digest in victims:
            self._drop(digest)
        self._admit(entry, loaded)
        return None

    def _admit(self, entry: _Fetching[T], loaded: Loaded[T]) -> None:
        """The waiters' leases start here, before they run again: nothing can evict the adapter in between."""
        self._tally.loaded(loaded.reload_s, loaded.fetch_s)
        ready = self._ready[entry.ref.digest] = _Ready(entry.ref, loaded, 0, self._clock.now())
        for waiter in entry.waiting():
            waiter.set_result(self._lease(ready))
        log.info(
            "adapter loaded", extra={"adapter": str(entry.ref), "digest": entry.ref.digest, "bytes": loaded.nbytes}
        )

    def _refuse(self, entry: _Fetching[T], error: QuickchangeError) -> None:
        """Remember the failure and answer all who wait, each with an exception of its own."""
        self._tally.failures[error.code] += 1
        if isinstance(error, NonFiniteLogits):
            self._tally.quarantines["trial"] += 1
        # Overloaded says nothing of the adapter.
        overloaded = isinstance(error, Overloaded)
        failure = error.failure() if overloaded else self._failures.remember(entry.ref, error)
        for waiter in entry.waiting():
            waiter.set_exception(from_failure(failure))

    # -- room -------------------------------------------------------------------------------------------------

    async def _wait_for_room(self, entry: _Fetching[T], nbytes: int, give_up: float) -> None:
        """Returns once idle adapters could make room; another may be quicker to take it. Raises ``Overloaded``."""
        while self._plan_evictions(nbytes) is None:
            left = give_up - self._clock.now()
            if left <= 0 or not await self._room_changed_within(left):
                raise Overloaded(
                    f"no memory for adapter {entry.ref.digest}: running requests pin all of it; try again, or raise "
                    "adapters.host_bytes",
                    retry_after_s=self._options.retry_after_s,
                )

    def _plan_evictions(self, incoming_bytes: int) -> tuple[str, ...] | None:
        """What to evict for a newcomer, or None if it must wait; changes nothing."""
        now = self._clock.now()
        held = [
            Held(digest, entry.loaded.nbytes, entry.leases, now - entry.idle_since, entry.loaded.reload_s)
            for digest, entry in self._ready.items()
        ]
        return choose_victims(held, incoming_bytes, self._options.host_bytes)

    def _drop(self, digest: str) -> None:
        entry = self._ready.pop(digest)
        self._tally.evictions += 1
        assert not entry.leases, "a leased adapter was chosen as a victim"
        log.info("adapter evicted", extra={"adapter": str(entry.ref), "digest": digest, "bytes": entry.loaded.nbytes})

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

    # -- leases and failures ----------------------------------------------------------------------------------

    def _lease(self, entry: _Ready[T]) -> Lease[T]:
        entry.leases += 1
        return Lease(entry.ref, entry.loaded.adapter, partial(self._end_lease, entry))

    def _end_lease(self, entry: _Ready[T]) -> None:
        entry.leases -= 1
        if not entry.leases:
            entry.idle_since = self._clock.now()
            self._room_changed.set()
