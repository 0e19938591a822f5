"""What a run leaves behind: a sample a request, and what happened meanwhile. Times are seconds since its start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """How a request ended, seen from the client."""

    DONE = "done"
    LEFT = "left"
    """The client hung up, as it was meant to."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    phase: str
    round: int
    flow: str
    model: str
    place: int
    """The model's place in its flow, 0 the most asked."""
    scheduled_s: float
    """When it was to be sent; latencies count from here, so that a request that had to queue says so."""
    sent_s: float
    first_s: float | None
    """When the first chunk came; None if none did."""
    last_s: float
    gaps_s: tuple[float, ...]
    """Between one chunk and the next. A chunk is a token, or a few that came together."""
    tokens: int
    status: int | None
    adapter: str | None
    """The header x-adapter: which weights answered."""
    end: End
    error: str | None = None
    prompt: str | None = None
    """The prompt's name where the round's other phases have it too."""
    answer: str | None = None
    """Digest of the text of an answer that was heard to its end."""

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_s is None else self.first_s - self.scheduled_s

    @property
    def total_s(self) -> float:
        return self.last_s - self.scheduled_s


@dataclass(frozen=True, slots=True)
class Span:
    """When a phase was."""

    phase: str
    round: int
    began_s: float
    ended_s: float
    """With the last answer of its requests."""
    settled_s: float | None = None
    """How long after that the service had nothing running; None if it was not asked or does not say."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An alias move as it happened."""

    adapter: str
    version: int | None
    """The version that it points at since; None if the move failed."""
    began_s: float
    done_s: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The service at one moment."""

    at_s: float
    memory_bytes: int | None
    running: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """All of it."""

    samples: tuple[Sample, ...]
    spans: tuple[Span, ...]
    moved: tuple[Moved, ...] = ()
    looks: tuple[Look, ...] = ()
    bursts_s: tuple[float, ...] = ()
    """When bursts were sent."""
