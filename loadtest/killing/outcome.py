"""The result of one kill, and its row in the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OK = "200"
WAITED_S = 5.0
"""A short request that took longer waited for a restarting process; a shared machine may delay it less."""
HANGS = "no answer"
"""Result of a request whose client timed out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended, in seconds from the last kill."""

    began_s: float
    ended_s: float
    result: str
    """``200``, ``503 not_ready``, or the name of the exception."""

    @property
    def well(self) -> bool:
        return self.result == OK and self.ended_s - self.began_s < WAITED_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kill of one process."""

    role: str
    back_s: float | None
    """Seconds until all further requests succeed; 0 if none failed, None if the limit passed first."""
    streams: dict[str, int]
    """How the streams ended that ran at the time of the kill, with counts."""
    requests: dict[str, int]
    """How the short requests after the kill ended, with counts."""
    longest_s: float
    """The longest time of a short request, answered or not, in seconds."""
    up: str
    """Whether ``up`` still runs at the end, or its exit code."""
    lost: list[str]
    """What was acknowledged before the kill and is missing afterwards."""
    said: list[str]
    """The terminal's lines after the kill."""

    def cells(self) -> list[str]:
        shown = [_counted(self.streams), _counted(self.requests), f"{self.longest_s:.1f} s", self.up]
        return [*shown, ", ".join(self.lost) or "nothing"]


def back_s(answers: Sequence[Answer]) -> float | None:
    """Seconds until all further requests succeed; 0 if none failed or waited, None if they never did."""
    bad = [answer.began_s for answer in answers if not answer.well]
    if not bad:
        return 0.0
    again = [answer.ended_s for answer in answers if answer.result == OK and answer.ended_s >= max(bad)]
    return round(min(again), 1) if again else None


def counted(results: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(results).items()))


def _counted(results: dict[str, int]) -> str:
    return ", ".join(f"{count} × {result}" for result, count in results.items()) or "none"
