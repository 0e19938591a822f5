"""A scenario: one question, the traffic that answers it, and the limits that the figures must keep.

```
Scenario ── plan(cast, scale) ──► Plan: Phase, Phase, …          one after the other, each drained before the next
   └─ limits                              └─ Flow, Flow, …       concurrent: tenant, arrivals, size of the work,
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
"""Prompts are token ids below this; every common tokenizer has more."""


@dataclass(frozen=True, slots=True)
class Work:
    """Size of a request. The answer always has ``max_tokens`` tokens: the end token is ignored."""

    prompt_tokens: int
    max_tokens: int
    vocabulary: int = VOCABULARY
    logprobs: int | None = None
    """Alternatives returned with each token; they make the answer many bytes long."""
    more: tuple[tuple[str, object], ...] = ()
    """Further fields of the request."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Reads as fast as the answer comes, to its end."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Reads this many bytes per second from its socket, and disconnects when the phase ends."""

    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Disconnects:
    """Reads this many chunks, then closes the connection."""

    after_chunks: int


@dataclass(frozen=True, slots=True)
class UntilEnd:
    """Reads as fast as the answer comes, and disconnects when the phase ends."""


Reading = Patient | Slow | Disconnects | UntilEnd
PATIENT = Patient()


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one behaviour."""

    name: str
    models: tuple[str, ...]
    """The most requested first."""
    arrivals: Arrivals
    work: Work
    popularity: Popularity = UNIFORM
    reading: Reading = PATIENT
    tenant: str | None = None
    """A tenant of ``Cast.tenants``, whose key is sent. None: the key of the command line."""
    repeats: bool = False
    """All phases of a round send the same prompts in the same order, so that answers can be compared."""


@dataclass(frozen=True, slots=True)
class Move:
    """A move of an adapter's production alias: a promotion, or a rollback where ``version`` is None."""

    at_s: float
    adapter: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Phase:
    """Concurrent flows. Phases of one ``round`` have the same arrivals and are compared with one another."""

    name: str
    seconds: float
    flows: tuple[Flow, ...]
    round: int = 1
    moves: tuple[Move, ...] = ()
    nuisances: tuple[Nuisance, ...] = ()
    """Sent by the last of the cast's tenants."""
    settle_s: float = 0.0
    """The longest wait, after the last client has disconnected, until the service has nothing running."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does, fixed before it begins."""

    phases: tuple[Phase, ...]
    warm: tuple[str, ...]
    """Models that get one request before the clock starts."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The models and tenants of a run."""

    base: str
    adapters: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    """Two, each with a key: the first has ``adapters``, the second ``huge``."""
    huge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What must exist before a scenario can run."""

    adapters: int = 0
    versions: int = 1
    own: bool = False
    """The adapters must be pushed for this run, because they must be unloaded or because their aliases are moved."""
    rank: int = 8
    huge: int = 0
    """Adapters of a second tenant whose weights are finite but overflow. Both tenants get keys, so the service must
    be started for this run."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question about a service, with its traffic and its limits."""

    name: str
    question: str
    needs: Callable[[float], Needs]
    """A function of the scale."""
    plan: Callable[[Cast, float], Plan]
    """A function of the cast and the scale; the scale multiplies the length of every phase."""
    limits: tuple[Limit, ...]
    watch: bool = False
    """Record the service's memory and running requests once per second."""


def scaled(count: int, scale: float, least: int) -> int:
    """``count`` times ``scale``, between ``least`` and ``count``."""
    return max(least, min(count, round(count * scale)))
