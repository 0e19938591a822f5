"""A loader whose sizes, failures and pace tests choose, and which notices what it must not be asked."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from service.adapters.loader import Loaded
from service.values import AdapterRef


class Weights:
    """What a loader makes; its life can be watched."""


class StubLoader:
    """Sizes and failures by digest; holds loads while a gate is shut."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}
        self.loads: Counter[str] = Counter()
        self.running: set[str] = set()
        self.most_running = 0
        self.twice = False
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def load(self, ref: AdapterRef) -> Loaded[Weights]:
        with self._lock:
            self.twice |= ref.digest in self.running
            self.running.add(ref.digest)
            self.most_running = max(self.most_running, len(self.running))
            self.loads[ref.digest] += 1
        try:
            assert self.gate.wait(30)
            if ref.digest in self.errors:
                raise self.errors[ref.digest]
            return Loaded(Weights(), self.sizes.get(ref.digest, 10), 0.1)
        finally:
            with self._lock:
                self.running.discard(ref.digest)


def ref(name: str) -> AdapterRef:
    return AdapterRef("acme", name, 1, f"sha256:{name:0>64}")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
