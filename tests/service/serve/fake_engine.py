"""A fake engine behind the replica's seams: tokens that follow from the prompt, no model, no torch."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from service.adapters.counts import StoreCounts, StoreTally
from service.adapters.lease import Leases
from service.adapters.residency import Resident
from service.engine.snapshot import EngineSnapshot
from service.errors import AdapterFailed, InvalidValue
from service.serve.parts import Deliver, Parts
from service.settings import Settings
from service.support.counting import Buckets
from service.values import AdapterRef, AdapterSet, Event, FinishReason, GenerateRequest, ServedBase

POISON = 666
"""A prompt token that kills the engine's thread."""
SERVED = ServedBase("fake", "sha256:" + "0" * 64, "/nowhere", 4096, 1000)


def expected(request: GenerateRequest, choice: int = 0) -> list[int]:
    """The tokens that the fake gives for a choice of ``request``."""
    start = sum(request.prompt) + 7 * choice + sum(ref.version for ref in request.adapters)
    return [(start + i) % 1000 for i in range(request.sampling.max_tokens)]


def snapshot(**known: Any) -> EngineSnapshot:
    """An engine that has done nothing but what is ``known``."""
    counts = dict.fromkeys(
        (
            "waiting",
            "kv_blocks_used",
            "steps",
            "failed_steps",
            "failed_rows",
            "preemptions",
            "prefix_hit_tokens",
            "prompt_tokens",
        ),
        0,
    )
    spreads = dict.fromkeys(("step_s", "rows", "sequences", "queue_s"), Buckets((1.0,), (0, 0), 0.0))
    fixed = {"backend": "fake", "fallback": None, "running_limit": 64, "running": 0, "kv_blocks_total": 100}
    adapters = {"running_digests": (), "waiting_digests": ()}
    return EngineSnapshot(**(counts | spreads | fixed | adapters | known))


@dataclass
class FakeLoop:
    """One token a choice and step, on a thread of its own."""

    deliver: Deliver
    step_s: float = 0.0005
    failed: BaseException | None = None
    cancelled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._commands: deque[Callable[[], None]] = deque()
        self._alive: dict[tuple[str, int], tuple[GenerateRequest, deque[int]]] = {}
        self._told: list[Event] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def submit(self, request: GenerateRequest, adapter: object) -> None:
        if not request.prompt:
            raise InvalidValue("empty prompt", param="prompt")
        assert (adapter is None) == (not request.adapters)
        self._commands.append(lambda: self._add(request))

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        self._commands.append(lambda: self._cancel(request_id))

    def heartbeat_age_s(self) -> float:
        return 0.0

    def snapshot(self) -> EngineSnapshot:
        return snapshot(running=len(self._alive))

    @property
    def alive(self) -> int:
        return len(self._alive)

    def _add(self, request: GenerateRequest) -> None:
        if POISON in request.prompt:
            raise RuntimeError("poisoned")
        for choice in range(request.n):
            self._alive[request.request_id, choice] = (request, deque(expected(request, choice)))

    def _cancel(self, request_id: str) -> None:
        for key in [key for key in self._alive if key[0] == request_id]:
            del self._alive[key]
            self._told.append(Event(*key, finish=FinishReason.CANCELLED))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                while self._commands:
                    self._commands.popleft()()
                events, self._told = self._told + [self._step(key) for key in list(self._alive)], []
                if events:
                    self.deliver(events)
                time.sleep(self.step_s)
        except RuntimeError as error:
            self.failed = error

    def _step(self, key: tuple[str, int]) -> Event:
        tokens = self._alive[key][1]
        token = tokens.popleft()
        if tokens:
            return Event(*key, tokens=(token,))
        del self._alive[key]
        return Event(*key, tokens=(token,), finish=FinishReason.LENGTH)


@dataclass
class FakeLease:
    adapter: str
    ref: AdapterRef
    releases: int = 0

    def release(self) -> None:
        self.releases += 1


@dataclass
class FakeStore:
    load_s: float = 0.0
    leases: list[FakeLease] = field(default_factory=list)
    blamed: list[AdapterRef] = field(default_factory=list)

    async def acquire_all(self, adapters: AdapterSet, tenant: str | None = None) -> Leases[str]:
        await asyncio.sleep(self.load_s)
        if any(ref.name == "broken" for ref in adapters):
            raise AdapterFailed(f"{adapters} cannot be loaded", retry_after_s=2.0)
        leases = [FakeLease(ref.digest, ref) for ref in adapters]
        self.leases += leases
        return Leases(leases)

    def blame(self, ref: AdapterRef) -> None:
        self.blamed.append(ref)

    def residency(self) -> tuple[Resident, ...]:
        return ()

    def counts(self) -> StoreCounts:
        return StoreTally(1).seen()


async def announce() -> None:
    """There is no registry to tell."""


def open_fake_parts(settings: Settings, *, step_s: float = 0.002) -> Parts:
    """For a replica in a real Serve application; the base's name tells its process."""
    served = ServedBase(f"fake-{os.getpid()}", SERVED.digest, "/nowhere", 4096, 1000)
    return Parts(served, FakeStore(), partial(FakeLoop, step_s=step_s), announce)
