"""Records of a run: one sample per request, phases, alias moves, load. Times are seconds since its start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """How a request ended, seen from the client."""

    DONE = "done"
    LEFT = "left"
    """The client disconnected, as planned."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    phase: str
    round: int
    flow: str
    model: str
    place: int
    """The model's place in its flow; 0 is the most requested model."""
    scheduled_s: float
    """When it was to be sent. Latencies count from here, so that they include queueing in the client."""
    sent_s: float
    first_s: float | None
    """When the first chunk arrived; None if none did."""
    last_s: float
    gaps_s: tuple[float, ...]
    """Time between one chunk and the next. A chunk is one token, or several that arrived together."""
    tokens: int
    status: int | None
    adapter: str | None
    """The header x-adapter: the adapter that answered."""
    end: End
    error: str | None = None
    prompt: str | None = None
    """The prompt's name if the round's other phases send it too."""
    answer: str | None = None
    """Digest of the text of a complete answer."""

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_s is None else self.first_s - self.scheduled_s

    @property
    def total_s(self) -> float:
        return self.last_s - self.scheduled_s


@dataclass(frozen=True, slots=True)
class Span:
    """Begin and end of a phase."""

    phase: str
    round: int
    began_s: float
    ended_s: float
    """End of the last answer to its requests."""
    settled_s: float | None = None
    """Seconds from then until the service had nothing running; None if it was not observed or does not report it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An alias move that was made."""

    adapter: str
    version: int | None
    """The version that the alias points at afterwards; None if the move failed."""
    began_s: float
    done_s: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Observation of the service at one moment."""

    at_s: float
    memory_bytes: int | None
    running: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """All records of a run."""

    samples: tuple[Sample, ...]
    spans: tuple[Span, ...]
    moved: tuple[Moved, ...] = ()
    looks: tuple[Look, ...] = ()
    bursts_s: tuple[float, ...] = ()
    """When bursts were sent."""
