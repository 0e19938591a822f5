"""Which model the next request names: all equally often, or a few far more often than the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Uniform:
    """Each equally often: random permutations one after the other, so that counts differ by at most one."""


@dataclass(frozen=True, slots=True)
class Zipf:
    """The k-th model is requested in proportion to 1 / k ** exponent."""

    exponent: float = 1.1


Popularity = Uniform | Zipf
UNIFORM = Uniform()


def weights(popularity: Popularity, models: int) -> list[float]:
    """The share of each of ``models``, the most requested first; the sum is 1."""
    match popularity:
        case Uniform():
            return [1 / models] * models
        case Zipf(exponent):
            raw = [(place + 1) ** -exponent for place in range(models)]
            return [weight / sum(raw) for weight in raw]


def draws(popularity: Popularity, models: int, draw: Random) -> Iterator[int]:
    """Places of models, without end; the same ``draw`` gives the same places."""
    if isinstance(popularity, Zipf):
        shares = weights(popularity, models)
        while True:
            yield draw.choices(range(models), shares)[0]
    while True:
        yield from draw.sample(range(models), models)
