"""Histograms as plain numbers, independent of the metrics library."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram at one moment."""

    bounds: tuple[float, ...]
    """Upper bounds, inclusive, ascending; a last bucket has larger values."""
    counts: tuple[int, ...]
    """One per bound and one more; not cumulative."""
    total: float
    """Sum of the added values."""

    @property
    def count(self) -> int:
        return sum(self.counts)


class Spread:
    """A histogram. One thread adds; for readers in other threads, ``total`` may differ from ``counts`` by a value."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def seen(self) -> Buckets:
        return Buckets(self._bounds, tuple(self._counts), self._total)
