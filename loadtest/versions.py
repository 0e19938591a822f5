"""Whether an answer names a version that was live when its request arrived. Pure functions of the recorded moves.

A move takes effect at some time between its begin and its end. So the earlier version counts as live until the end,
and the later one from the begin. The version of an answer is fixed at admission, between sending and first chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.samples import End, Moved, Sample

FIRST = 1
"""The version that is live before any move."""


@dataclass(frozen=True, slots=True)
class Live:
    """An interval of time in which an adapter's alias may have pointed at ``version``."""

    version: int
    from_s: float
    until_s: float


def history(moved: Iterable[Moved]) -> dict[str, list[Live]]:
    """Adapter → the versions that its alias pointed at, in order; without adapters that never moved."""
    found: dict[str, list[Live]] = {}
    for move in moved:
        stretches = found.setdefault(move.adapter, [Live(FIRST, -math.inf, math.inf)])
        last = stretches[-1]
        if move.version is not None and move.version != last.version:
            stretches[-1] = Live(last.version, last.from_s, move.done_s)
            stretches.append(Live(move.version, move.began_s, math.inf))
    return found


def staleness_s(sample: Sample, stretches: list[Live]) -> float | None:
    """Seconds from the end of the version's time as the live one to the request; 0 if it was live.

    None if the answer names another adapter, or a version that was not live before the answer began.
    """
    name, at, number = (sample.adapter or "").rpartition("@")
    if not at or name != sample.model or not number.isdecimal() or sample.first_s is None:
        return None
    ages = [
        max(0.0, sample.sent_s - live.until_s)
        for live in stretches
        if live.version == int(number) and live.from_s <= sample.first_s
    ]
    return min(ages, default=None)


def names_another(sample: Sample) -> bool:
    """Whether the answer's header names an adapter other than the requested one; False without the header."""
    if sample.adapter is None or sample.end is End.FAILED:
        return False
    return sample.adapter != sample.model and sample.adapter.rpartition("@")[0] != sample.model
