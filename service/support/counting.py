"""Histograms as plain numbers, for code that counts without knowing how counts are shown."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram as of now."""

    bounds: tuple[float, ...]
    """Upper bounds, inclusive, ascending; a last bucket takes what is beyond."""
    counts: tuple[int, ...]
    """One for each bound and one more; not cumulative."""
    total: float
    """Sum of what was added."""

    @property
    def count(self) -> int:
        return sum(self.counts)


class Spread:
    """A histogram being filled. One thread adds; others may look, and see ``total`` a value ahead or behind."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def seen(self) -> Buckets:
        return Buckets(self._bounds, tuple(self._counts), self._total)
