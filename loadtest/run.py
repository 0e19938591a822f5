"""Runs one scenario against one service: warm-up, phases, observation; returns everything that was recorded."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters_registry.client import RegistryClient
from loadtest.client import Ask, Client, connected
from loadtest.errors import NothingMeasured
from loadtest.moves import move_aliases
from loadtest.nuisance import Target, bother
from loadtest.progress import Progress
from loadtest.samples import End, Moved, Run, Span
from loadtest.scenario import Patient, Phase, Plan, Scenario, Work
from loadtest.sender import Sender
from loadtest.watch import Memory, Watch

WARM_AT_ONCE = 4
WARM_WORK = Work(prompt_tokens=8, max_tokens=4)


@dataclass(frozen=True, slots=True)
class Service:
    """The service to send to, and what can be observed of it."""

    url: str
    """Ends in /v1."""
    key: str | None = None
    registry: RegistryClient | None = None
    memory: Memory | None = None
    """None if the service was not started by this run."""
    registry_url: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the cast's tenants."""


async def run(scenario: Scenario, plan: Plan, service: Service, *, seed: int, salt: str, progress: Progress) -> Run:
    """Carries out the plan. Raises ``NothingMeasured`` if a model does not answer the warm-up."""
    began_s = time.perf_counter()

    def clock() -> float:
        return time.perf_counter() - began_s

    async with connected(service.url, clock, salt=salt, key=service.key, keys=service.keys) as client:
        await _warm(client, plan.warm)
        began_s = time.perf_counter()
        sender = Sender(client, seed, progress.count)
        watch = Watch(client, service.memory)
        watching = asyncio.create_task(watch.follow()) if scenario.watch else None
        spans: list[Span] = []
        moved: list[Moved] = []
        try:
            with progress.shown(scenario.name, plan):
                for phase in plan.phases:
                    progress.begin(phase)
                    spans.append(await _phase(phase, sender, service, watch, moved))
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
    return Run(tuple(sender.samples), tuple(spans), tuple(moved), tuple(watch.looks), tuple(sender.bursts_s))


async def _phase(phase: Phase, sender: Sender, service: Service, watch: Watch, moved: list[Moved]) -> Span:
    clock = sender.client.clock
    began_s = clock()
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send(phase))
        for nuisance in phase.nuisances:
            tenant = list(service.keys)[-1]
            target = Target(service.url, service.registry_url, service.keys[tenant], tenant)
            group.create_task(bother(nuisance, target, phase.seconds))
        if phase.moves:
            assert service.registry is not None, "a scenario that moves aliases needs adapters of its own"
            group.create_task(move_aliases(service.registry, phase, clock, moved))
    ended_s = clock()
    settled_s = await watch.settled_s(phase.settle_s) if phase.settle_s else None
    return Span(phase.name, phase.round, began_s, ended_s, settled_s)


async def _warm(client: Client, models: tuple[str, ...]) -> None:
    gate = asyncio.Semaphore(WARM_AT_ONCE)

    async def one(place: int, model: str) -> None:
        async with gate:
            now_s = client.clock()
            # Negative numbers: no request of the run has this prompt.
            request = Ask("warm-up", 1, "warm-up", model, place, WARM_WORK, Patient(), now_s, math.inf, -1 - place)
            sample = await client.ask(request)
        if sample.end is End.FAILED:
            raise NothingMeasured(f"{model} did not answer when it was first asked: {sample.error}")

    try:
        async with asyncio.TaskGroup() as group:
            for place, model in enumerate(models):
                group.create_task(one(place, model))
    except* NothingMeasured as errors:
        raise errors.exceptions[0] from None
