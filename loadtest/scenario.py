"""A scenario: one question, the traffic that asks it, and the limits that its answer must keep.

```
Scenario ── plan(cast, scale) ──► Plan: Phase, Phase, …          one after the other, each drained before the next
   └─ limits                              └─ Flow, Flow, …       side by side: who asks, how often, for how much,
                                          └─ Move, Move, …       and how the answer is read
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.arrivals import Arrivals
from loadtest.limits import Limit
from loadtest.nuisance import Nuisance
from loadtest.popularity import UNIFORM, Popularity

VOCABULARY = 32_000
"""Prompts are token ids below this: every common tokenizer has more."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a request asks for; the answer is ``max_tokens`` long, whatever the model would rather say."""

    prompt_tokens: int
    max_tokens: int
    vocabulary: int = VOCABULARY
    logprobs: int | None = None
    """Alternatives told with each token: makes an answer of many bytes."""
    more: tuple[tuple[str, object], ...] = ()
    """Further fields of the request."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Reads as fast as the answer comes, to its end."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Takes this many bytes a second from its socket, and hangs up when the phase ends."""

    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class HangsUp:
    """Reads this many chunks, then closes the connection."""

    after_chunks: int


@dataclass(frozen=True, slots=True)
class UntilEnd:
    """Reads as fast as the answer comes, and hangs up when the phase ends."""


Reading = Patient | Slow | HangsUp | UntilEnd
PATIENT = Patient()


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one behaviour."""

    name: str
    models: tuple[str, ...]
    """The most asked first."""
    arrivals: Arrivals
    work: Work
    popularity: Popularity = UNIFORM
    reading: Reading = PATIENT
    tenant: str | None = None
    """Who asks: a tenant of ``Cast.tenants``, with its own key. None: the caller of the command line."""
    repeats: bool = False
    """In all phases of a round the same prompts in the same order, so that answers can be compared."""


@dataclass(frozen=True, slots=True)
class Move:
    """A move of an adapter's production alias: a promotion, or a rollback where ``version`` is None."""

    at_s: float
    adapter: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Phase:
    """Flows side by side. Phases of one ``round`` have the same arrivals and are compared with one another."""

    name: str
    seconds: float
    flows: tuple[Flow, ...]
    round: int = 1
    moves: tuple[Move, ...] = ()
    nuisances: tuple[Nuisance, ...] = ()
    """From the last of the cast's tenants."""
    settle_s: float = 0.0
    """How long to wait, after the last client has gone, for the service to have nothing running."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run, fixed before it begins."""

    phases: tuple[Phase, ...]
    warm: tuple[str, ...]
    """Models asked once before the clock starts."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The models that a run plays with."""

    base: str
    adapters: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    """Two, each with a key: the first has ``adapters``, the second ``huge``."""
    huge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before a scenario can run."""

    adapters: int = 0
    versions: int = 1
    own: bool = False
    """Adapters that somebody else uses will not do: they must be new, or are moved about."""
    rank: int = 8
    huge: int = 0
    """Adapters of a second tenant whose weights are finite and too large: both tenants get keys, so that the service
    must be started for this run."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question, asked by traffic and answered by limits."""

    name: str
    question: str
    needs: Callable[[float], Needs]
    """Of the scale."""
    plan: Callable[[Cast, float], Plan]
    """Of the cast and the scale, which stretches or shortens every phase."""
    limits: tuple[Limit, ...]
    watch: bool = False
    """Look at the service's memory and running requests once a second."""


def scaled(count: int, scale: float, least: int) -> int:
    """``count`` for a run of full size and above, fewer for a smaller one."""
    return max(least, min(count, round(count * scale)))
