"""Loads in progress: one per adapter for all its callers, a bounded number at a time, shared by tenants."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from adapters_registry.edge.shares import Gate, Ticket
from service.adapters.clock import Clock
from service.adapters.host_copies import HostCopies
from service.adapters.lease import Lease
from service.adapters.loader import Loaded, Loader
from service.adapters.residency import Resident
from service.errors import AdapterFailed, AdapterIncompatible, Overloaded, QuickchangeError, from_failure
from service.settings import AdapterOptions
from service.support.threads import stay_behind
from service.values import AdapterRef, Failure

log = logging.getLogger(__name__)

T = TypeVar("T")

LOAD_SHARE = 0.75
"""The share of the load slots that a single tenant may use."""
ROOM_WAIT_S = 10.0
"""Bounds how long a load waits for leases to end if all memory is pinned."""


@dataclass(slots=True, eq=False)
class _Fetching(Generic[T]):
    ref: AdapterRef
    tenants: list[str]
    """Tenants that requested it, in order of arrival."""
    ticket: Ticket | None = None
    """Set while it waits for a load slot or has one."""
    waiters: list[asyncio.Future[Lease[T]]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def waiting(self) -> list[asyncio.Future[Lease[T]]]:
        return [waiter for waiter in self.waiters if not waiter.done()]


class Loads(Generic[T]):
    """Creates host copies, and grants leases on them to all waiting callers. Used on the store's event loop only.

    An adapter is loaded before others are evicted for it, so that a failed load evicts nothing. If running adapters
    pin all memory, the loaded copy is dropped. It is loaded again once a lease ends within ``room_wait_s``; otherwise
    its requests are refused as overloaded.
    """

    def __init__(
        self,
        loader: Loader[T],
        options: AdapterOptions,
        copies: HostCopies[T],
        refused: Callable[[AdapterRef, QuickchangeError], Failure],
        clock: Clock,
        room_wait_s: float,
    ) -> None:
        """``refused`` is called once per failure, and returns it as a value for the waiting callers."""
        self._loader = loader
        self._options = options
        self._copies = copies
        self._refused = refused
        self._clock = clock
        self._room_wait_s = room_wait_s
        self._fetching: dict[str, _Fetching[T]] = {}
        self._slots = Gate(options.load_threads, LOAD_SHARE)
        self._pool = ThreadPoolExecutor(options.load_threads, "adapter-load", initializer=stay_behind)

    async def lease(self, ref: AdapterRef, tenant: str) -> Lease[T]:
        """A lease on ``ref``, loaded in ``tenant``'s share of the slots. Raises the error of the load."""
        waiter: asyncio.Future[Lease[T]] = asyncio.get_running_loop().create_future()
        self._join(ref, tenant).waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # The lease may be granted in the same turn of the loop in which this task is cancelled.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().release()
            raise

    def residency(self) -> list[Resident]:
        """The current loads."""
        return [Resident(entry.ref, "fetching", leases=len(entry.waiting())) for entry in self._fetching.values()]

    async def close(self) -> None:
        """Cancel all loads; waiting callers get an error."""
        tasks = [entry.task for entry in self._fetching.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- one load ---------------------------------------------------------------------------------------------

    def _join(self, ref: AdapterRef, tenant: str) -> _Fetching[T]:
        entry = self._fetching.get(ref.digest)
        if entry is None:
            entry = self._fetching[ref.digest] = _Fetching(ref, [tenant])
            entry.task = asyncio.create_task(self._fetch(entry), name=f"load {ref}")
        elif tenant not in entry.tenants:
            # So this tenant does not wait for the other loads of the first one.
            entry.tenants.append(tenant)
            if entry.ticket is not None:
                self._slots.also(entry.ticket, tenant)
        return entry

    async def _fetch(self, entry: _Fetching[T]) -> None:
        """Always ends with every waiter answered and ``entry`` removed from ``_fetching``."""
        try:
            give_up = wanted = None
            while (wanted := await self._load_in_turn(entry, wanted)) is not None:
                give_up = give_up or self._clock.now() + self._room_wait_s
                if not await self._copies.wait_for_room(wanted, give_up):
                    raise Overloaded(
                        f"no memory for adapter {entry.ref.digest}: running requests pin all of it; try again, or "
                        "raise adapters.host_bytes",
                        retry_after_s=self._options.retry_after_s,
                    )
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
        """Load and admit it. If it does not fit now, drop it and return its bytes.

        ``wanted`` are its bytes, if known. They are checked first, so that only one of several waiting loads reads a
        slab.

        A load that waits for leases to end therefore uses neither a load slot nor memory; its slab is on disk.
        """
        entry.ticket = ticket = self._slots.ask(entry.tenants[0])
        try:
            for tenant in entry.tenants[1:]:
                self._slots.also(ticket, tenant)
            await self._slots.granted(ticket)
            if wanted is not None and not self._copies.can_make_room(wanted):
                return wanted
            # All its callers may have been cancelled while it was queued; a later caller starts a new load.
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
        if not self._copies.make_room(loaded.nbytes):
            return loaded.nbytes
        self._admit(entry, loaded)
        return None

    def _admit(self, entry: _Fetching[T], loaded: Loaded[T]) -> None:
        """Grants the waiters' leases before they run again, so that the adapter cannot be evicted in between."""
        copy = self._copies.add(entry.ref, loaded)
        for waiter in entry.waiting():
            waiter.set_result(self._copies.lease(copy))
        log.info(
            "adapter loaded", extra={"adapter": str(entry.ref), "digest": entry.ref.digest, "bytes": loaded.nbytes}
        )

    def _refuse(self, entry: _Fetching[T], error: QuickchangeError) -> None:
        """Raise the error in all waiting callers, each with a separate exception."""
        failure = self._refused(entry.ref, error)
        for waiter in entry.waiting():
            waiter.set_exception(from_failure(failure))
