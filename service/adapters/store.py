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

Each state has its owner: fetching ``loads``, ready ``host_copies``, failed ``failures``.
"""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

from service.adapters.clock import Clock, SystemClock
from service.adapters.counts import StoreCounts, StoreTally
from service.adapters.failures import Failures
from service.adapters.host_copies import HostCopies
from service.adapters.lease import Lease, Leases
from service.adapters.loader import Loader
from service.adapters.loads import ROOM_WAIT_S, Loads
from service.adapters.residency import Resident
from service.adapters.strikes import Strikes
from service.errors import AdapterQuarantined, NonFiniteLogits, Overloaded, QuickchangeError
from service.settings import AdapterOptions
from service.values import AdapterRef, AdapterSet, Failure

log = logging.getLogger(__name__)

T = TypeVar("T")


class AdapterStore(Generic[T]):
    """Leases on adapters, from what is ready, what is being loaded and what has failed.

    It holds at most ``host_bytes``, and in addition the adapters being loaded (at most ``load_threads``). Load slots
    are shared by the tenants that want adapters.
    """

    def __init__(
        self,
        loader: Loader[T],
        options: AdapterOptions,
        clock: Clock | None = None,
        room_wait_s: float = ROOM_WAIT_S,
    ) -> None:
        clock = clock or SystemClock()
        self._host_bytes = options.host_bytes
        self._tally = StoreTally(options.host_bytes)
        self._failures = Failures(clock, options.retry_after_s, options.quarantine_s)
        self._strikes = Strikes(clock, options.quarantine_s)
        self._copies = HostCopies[T](options.host_bytes, clock, self._tally)
        self._loads = Loads(loader, options, self._copies, self._refused, clock, room_wait_s)

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
        copy = self._copies.find(ref.digest)
        if copy is not None:
            self._tally.hits += 1
            return self._copies.lease(copy)
        self._tally.misses += 1
        return await self._loads.lease(ref, tenant or ref.tenant)

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
        return (*self._copies.residency(), *self._loads.residency(), *self._failures.residency())

    def counts(self) -> StoreCounts:
        """What was done so far."""
        return self._tally.seen()

    @property
    def resident_bytes(self) -> int:
        """Bytes of the adapters that are ready."""
        return self._copies.nbytes

    def evict(self, digest: str) -> bool:
        """Free an adapter now; False if it is not here or a lease pins it."""
        return self._copies.evict(digest)

    async def close(self) -> None:
        """Give up what is being loaded and free what is idle; leased adapters go with their leases."""
        await self._loads.close()
        self._copies.clear()

    def __repr__(self) -> str:
        """``<AdapterStore 3.1/1024.0 MiB: acme/support@3 ready 2 leases | globex/x@1 fetching 3 waiting>``"""
        mib = 1 << 20
        head = f"{self.resident_bytes / mib:.1f}/{self._host_bytes / mib:.1f} MiB"
        return f"<AdapterStore {head}: {' | '.join(map(str, self.residency())) or 'empty'}>"

    def _refused(self, ref: AdapterRef, error: QuickchangeError) -> Failure:
        """Count and remember why a load gave nothing."""
        self._tally.failures[error.code] += 1
        if isinstance(error, NonFiniteLogits):
            self._tally.quarantines["trial"] += 1
        # Overloaded says nothing of the adapter.
        return error.failure() if isinstance(error, Overloaded) else self._failures.remember(ref, error)
