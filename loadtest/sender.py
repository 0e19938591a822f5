"""Sends a plan's phases one after the other, with concurrent open or closed flows; one sample per request."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from loadtest.arrivals import Burst, Closed, Poisson, poisson_times
from loadtest.client import Ask, Client, Extra, connected
from loadtest.errors import RequestFailed
from loadtest.popularity import draws
from loadtest.samples import End, Sample
from loadtest.scenario import Flow, Phase, Work

OnSample = Callable[[Sample], None]


@dataclass
class Sender:
    """Collects the samples in the order in which requests ended."""

    client: Client
    seed: int
    on_sample: OnSample = lambda sample: None
    samples: list[Sample] = field(default_factory=list)
    bursts_s: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def send(self, phase: Phase) -> None:
        """Returns when every request of the phase has ended."""
        began_s = self.client.clock()
        async with asyncio.TaskGroup() as group:
            for flow in phase.flows:
                # Phases of one round are compared, so the seed contains the round and not the phase's name.
                draw = Random(f"{self.seed}/{flow.name}/{phase.round}")  # noqa: S311
                group.create_task(self._flow(flow, phase, began_s, draw))

    async def _flow(self, flow: Flow, phase: Phase, began_s: float, draw: Random) -> None:
        match flow.arrivals:
            case Closed(workers, requests):
                left = itertools.count() if requests is None else iter(range(requests))
                places = draws(flow.popularity, len(flow.models), draw)
                async with asyncio.TaskGroup() as group:
                    for _ in range(workers):
                        group.create_task(self._work(flow, phase, began_s, places, left))
            case Poisson(per_s):
                times = poisson_times(per_s, phase.seconds, draw)
                places = draws(flow.popularity, len(flow.models), draw)
                await self._on_time(flow, phase, began_s, [(at_s, next(places)) for at_s in times])
            case Burst(at_s):
                self.bursts_s.append(began_s + at_s)
                await self._on_time(flow, phase, began_s, [(at_s, place) for place in range(len(flow.models))])

    async def _work(
        self, flow: Flow, phase: Phase, began_s: float, places: Iterator[int], left: Iterator[int]
    ) -> None:
        clock = self.client.clock
        while clock() < began_s + phase.seconds and (number := next(left, None)) is not None:
            await self._ask(flow, phase, began_s, clock(), next(places), number)

    async def _on_time(self, flow: Flow, phase: Phase, began_s: float, schedule: list[tuple[float, int]]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (at_s, place) in enumerate(schedule):
                await asyncio.sleep(max(0.0, began_s + at_s - self.client.clock()))
                group.create_task(self._ask(flow, phase, began_s, began_s + at_s, place, number))

    async def _ask(
        self, flow: Flow, phase: Phase, began_s: float, scheduled_s: float, place: int, number: int
    ) -> None:
        sample = await self.client.ask(
            Ask(
                phase=phase.name,
                round=phase.round,
                flow=flow.name,
                model=flow.models[place],
                place=place,
                work=flow.work,
                reading=flow.reading,
                scheduled_s=scheduled_s,
                until_s=began_s + phase.seconds,
                number=next(self._numbers),
                tenant=flow.tenant,
                prompt=f"{flow.name}/{phase.round}/{number}" if flow.repeats else None,
            )
        )
        self.samples.append(sample)
        self.on_sample(sample)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The samples of a run without phases, and its duration."""

    samples: tuple[Sample, ...]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return sum(sample.tokens for sample in self.samples) / self.seconds


async def closed_loop(
    url: str, models: Sequence[str], work: Work, *, concurrency: int, requests: int, extra: Extra | None = None
) -> ClosedLoop:
    """Send ``requests`` in total to ``url``, which ends in ``/v1``. Raises ``RequestFailed`` if one of them fails."""
    began_s = time.perf_counter()
    async with connected(
        url, lambda: time.perf_counter() - began_s, salt=secrets.token_hex(4), extra=extra
    ) as client:
        sender = Sender(client, seed=0)
        flow = Flow("loop", tuple(models), Closed(concurrency, requests), work)
        await sender.send(Phase("loop", math.inf, (flow,)))
        seconds = client.clock()
    for sample in sender.samples:
        if sample.end is End.FAILED:
            raise RequestFailed(f"{sample.model}: {sample.error}")
    return ClosedLoop(tuple(sender.samples), seconds)
