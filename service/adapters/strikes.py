"""Counts requests that failed because of an adapter's weights, by owner and digest."""

from __future__ import annotations

from collections import OrderedDict

from service.adapters.clock import Clock
from service.values import AdapterRef

MOST = 3
CAPACITY = 4096
"""Bound on counted adapters; the one whose last failure is oldest is dropped first."""


class Strikes:
    """Owned by the adapter store."""

    def __init__(self, clock: Clock, within_s: float) -> None:
        self._clock = clock
        self._within_s = within_s
        self._times: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def add(self, ref: AdapterRef) -> bool:
        """Count a failure; returns whether it is the third within the time, and then resets the count."""
        now, key = self._clock.now(), (ref.tenant, ref.digest)
        recent = [time for time in self._times.pop(key, []) if now - time < self._within_s]
        if len(recent) + 1 >= MOST:
            return True
        self._times[key] = [*recent, now]
        if len(self._times) > CAPACITY:
            self._times.popitem(last=False)
        return False
