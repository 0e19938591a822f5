"""Limits on figures, like k6's thresholds: part of the scenario, held or broken by a run. Pure functions."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loadtest.errors import NothingMeasured
from loadtest.measure import Measure, ratio, value
from loadtest.samples import Run


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure may be at most, or must be at least; with ``against``, its ratio to another figure.

    A ratio is computed per round, and the median of the rounds counts, so that one disturbed round does not decide.
    """

    measure: Measure
    at_most: float | None = None
    at_least: float | None = None
    against: Measure | None = None

    def __post_init__(self) -> None:
        assert (self.at_most is None) != (self.at_least is None), "one bound"

    def __str__(self) -> str:
        figure = f"{self.measure} / ({self.against.about or self.against})" if self.against else str(self.measure)
        unit = "" if self.against or self.measure.quantity.unit in ("", "ratio") else f" {self.measure.quantity.unit}"
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        return f"{figure} {bound}{unit}"

    def holds(self, found: float) -> bool:
        return found <= self.at_most if self.at_most is not None else found >= (self.at_least or 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A limit, and whether the run kept it."""

    limit: Limit
    value: float | None
    held: bool | None
    """None: this service does not report the figure, so the limit is neither held nor broken."""
    why: str | None = None
    """Why there is no value."""
    rounds: tuple[float, ...] = ()
    """For a ratio: the value of each round."""


def judge(limit: Limit, run: Run) -> Verdict:
    """A figure without any request to compute it from breaks its limit."""
    try:
        if limit.against is None:
            return _verdict(limit, value(limit.measure, run))
        found = _ratios(limit.measure, limit.against, run)
        if found is None:
            return _verdict(limit, None)
        return _verdict(limit, statistics.median(found), found)
    except NothingMeasured as error:
        return Verdict(limit, None, False, str(error))


def all_held(verdicts: tuple[Verdict, ...]) -> bool:
    return all(verdict.held is not False for verdict in verdicts)


def _ratios(measure: Measure, against: Measure, run: Run) -> tuple[float, ...] | None:
    rounds = sorted({span.round for span in run.spans})
    found = []
    for round in rounds:
        upper, lower = value(measure, run, round), value(against, run, round)
        if upper is None or lower is None:
            return None
        found.append(ratio(upper, lower))
    if not found:
        raise NothingMeasured("no round to measure")
    return tuple(found)


def _verdict(limit: Limit, found: float | None, rounds: tuple[float, ...] = ()) -> Verdict:
    if found is None:
        return Verdict(limit, None, None, "this service does not let it be seen")
    return Verdict(limit, found, limit.holds(found), None, rounds)
