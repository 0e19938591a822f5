"""Requests that failed by an adapter's weights, counted by digest until there are too many of them."""

from __future__ import annotations

from collections import OrderedDict

from service.adapters.clock import Clock

MOST = 3
CAPACITY = 4096
"""Most digests counted; the one that failed longest ago is forgotten first."""


class Strikes:
    """Owned by the adapter store."""

    def __init__(self, clock: Clock, within_s: float) -> None:
        self._clock = clock
        self._within_s = within_s
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def add(self, digest: str) -> bool:
        """Whether this is the third within the time; the count begins anew then."""
        now = self._clock.now()
        recent = [time for time in self._times.pop(digest, []) if now - time < self._within_s]
        if len(recent) + 1 >= MOST:
            return True
        self._times[digest] = [*recent, now]
        if len(self._times) > CAPACITY:
            self._times.popitem(last=False)
        return False
