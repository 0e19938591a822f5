"""When requests are sent. Times are fixed before the first request, so a slow answer delays no later one."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Closed:
    """Workers that each send a request when their last answer has ended; ``requests`` limits the total."""

    workers: int
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals at a mean rate."""

    per_s: float


@dataclass(frozen=True, slots=True)
class Burst:
    """One request to every model of the flow, all at the same time."""

    at_s: float = 0.0


Arrivals = Closed | Poisson | Burst


def poisson_times(per_s: float, seconds: float, draw: Random) -> tuple[float, ...]:
    """Seconds from the phase's start, ascending and below ``seconds``; the same ``draw`` gives the same times."""
    times = []
    now = draw.expovariate(per_s)
    while now < seconds:
        times.append(now)
        now += draw.expovariate(per_s)
    return tuple(times)
