"""Measures one request's time to first token and inter-token latency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from service.metrics import GatewayMetrics
from service.values import Event


class Latency:
    """Costs a few float operations per batch of events."""

    def __init__(self, metrics: GatewayMetrics, arrived: float) -> None:
        """``arrived`` is on the event loop's clock."""
        self._metrics = metrics
        self._arrived = arrived
        self._last: dict[int, float] = {}

    def came(self, prompt: int, events: Sequence[Event]) -> None:
        """Record events of one prompt. For events of several steps at once (a slow reader), their mean counts."""
        tokens = sum(len(event.tokens) for event in events)
        if not tokens:
            return
        now = time.perf_counter()  # an event loop's clock may have a resolution of a millisecond
        last = self._last.get(prompt)
        if last is not None:
            choices = len({event.choice for event in events if event.tokens})
            self._metrics.inter_token((now - last) * choices / tokens)
        elif not self._last:
            self._metrics.first_token(asyncio.get_running_loop().time() - self._arrived)
        self._last[prompt] = now
