"""When requests are sent: fixed before the first one, so that a slow answer delays no later request."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Closed:
    """Workers that send when their last answer has ended, until the phase or ``requests`` are over."""

    workers: int
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals at a mean rate."""

    per_s: float


@dataclass(frozen=True, slots=True)
class Burst:
    """Every model of the flow once, all at one moment of the phase."""

    at_s: float = 0.0


Arrivals = Closed | Poisson | Burst


def poisson_times(per_s: float, seconds: float, draw: Random) -> tuple[float, ...]:
    """Seconds from the phase's start, ascending and below ``seconds``; the same ``draw`` gives the same ones."""
    times = []
    now = draw.expovariate(per_s)
    while now < seconds:
        times.append(now)
        now += draw.expovariate(per_s)
    return tuple(times)
