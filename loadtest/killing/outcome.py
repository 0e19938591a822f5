"""What was seen of one kill, and how it reads in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OK = "200"
WAITED_S = 5.0
"""A short request that took longer waited for a process to come back, on a machine that others use too."""
HANGS = "no answer"
"""Shown for a request that had no answer when its client gave up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended, in seconds from the last kill."""

    began_s: float
    ended_s: float
    result: str
    """``200``, ``503 not_ready``, or what broke."""

    @property
    def well(self) -> bool:
        return self.result == OK and self.ended_s - self.began_s < WAITED_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kill of one process."""

    role: str
    back_s: float | None
    """Until requests are answered again and stay so; 0 where none failed, None if they were not within the limit."""
    streams: dict[str, int]
    """How the streams ended that ran when it was killed."""
    requests: dict[str, int]
    """How the short requests ended that came after it."""
    longest_s: float
    """The longest that a short request waited, for an answer or in vain."""
    up: str
    """Whether ``up`` runs in the end, or what it ended with."""
    lost: list[str]
    """What was acknowledged before it and is not there any more."""
    said: list[str]
    """What the terminal said after it."""

    def cells(self) -> list[str]:
        shown = [_counted(self.streams), _counted(self.requests), f"{self.longest_s:.1f} s", self.up]
        return [*shown, ", ".join(self.lost) or "nothing"]


def back_s(answers: Sequence[Answer]) -> float | None:
    """When requests were answered again and stayed so; 0 if none ever failed or waited, None if they never were."""
    bad = [answer.began_s for answer in answers if not answer.well]
    if not bad:
        return 0.0
    again = [answer.ended_s for answer in answers if answer.result == OK and answer.ended_s >= max(bad)]
    return round(min(again), 1) if again else None


def counted(results: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(results).items()))


def _counted(results: dict[str, int]) -> str:
    return ", ".join(f"{count} × {result}" for result, count in results.items()) or "none"
