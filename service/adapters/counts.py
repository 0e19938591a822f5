"""Counters of an adapter store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from service.support.counting import Buckets, Spread

LOAD_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Counts since the store was created."""

    hits: int
    """Leases on adapters that were ready."""
    misses: int
    """Leases that waited for a load, successful or not."""
    refused: int
    """Leases refused at once because of a remembered failure."""
    evictions: int
    failures: dict[str, int]
    """Failed loads, by the error's code."""
    quarantines: dict[str, int]
    """By reason: the adapter's trial, or its owner's requests."""
    fetch_s: Buckets
    """Loads without a slab: seconds to fetch from the registry, check, and write the slab."""
    slab_s: Buckets
    """All loads: seconds to read the slab and bind it."""
    host_bytes: int
    """The store's bound in bytes."""


class StoreTally:
    """Counts for one store, on its event loop."""

    def __init__(self, host_bytes: int) -> None:
        self.hits = 0
        self.misses = 0
        self.refused = 0
        self.evictions = 0
        self.failures: Counter[str] = Counter()
        self.quarantines: Counter[str] = Counter()
        self._host_bytes = host_bytes
        self._fetch_s = Spread(LOAD_S)
        self._slab_s = Spread(LOAD_S)

    def loaded(self, slab_s: float, fetch_s: float | None) -> None:
        self._slab_s.add(slab_s)
        if fetch_s is not None:
            self._fetch_s.add(fetch_s)

    def seen(self) -> StoreCounts:
        return StoreCounts(
            self.hits,
            self.misses,
            self.refused,
            self.evictions,
            dict(self.failures),
            dict(self.quarantines),
            self._fetch_s.seen(),
            self._slab_s.seen(),
            self._host_bytes,
        )
