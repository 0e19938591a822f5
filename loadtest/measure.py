"""One figure of a run: a quantile of a latency, or a count, over the selected requests. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from loadtest.errors import NothingMeasured
from loadtest.samples import End, Run, Sample, Span
from loadtest.versions import history, names_another, staleness_s

GRACE_S = 1.0
"""Bounds how long gateways may serve the old version after a move, which they get by long-poll."""
ENOUGH = 3
"""Adapters with fewer answers are left out of the fairness figure."""


class Quantity(Enum):
    """The figures that can be measured: name for people, and unit."""

    TTFT = ("time to first token", "s")
    GAP = ("inter-token latency", "s")
    TOTAL = ("time to last token", "s")
    LAG = ("send lag", "s")
    """Time between schedule and sending: delays of the client, which would distort the other figures."""
    FAILED = ("share of requests that failed", "")
    WRONG = ("answers of wrong weights", "")
    SERVER_ERRORS = ("answers of status 5xx but 503, 504 and 507", "")
    CHANGED = ("answers that differ from the round's first phase", "")
    STALE = ("longest use of a version after its move", "s")
    VERSIONS = ("versions that answered, for each adapter", "")
    MOVES_FAILED = ("failed moves", "")
    SPEED = ("tokens per second", "tokens/s")
    SPREAD = ("slowest adapter's mean time to last token over the mean of all", "ratio")
    MEMORY = ("growth of the service's memory", "MiB")
    SETTLED = ("time until nothing runs", "s")

    @property
    def label(self) -> str:
        return self.value[0]

    @property
    def unit(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Measure:
    """Which figure, of which requests. None selects all."""

    quantity: Quantity
    quantile: float | None = None
    """For latencies only."""
    flow: str | None = None
    phase: str | None = None
    places: tuple[int, int | None] = (0, None)
    """Models from the first place to before the second; 0 is the most requested model."""

    def __str__(self) -> str:
        stat = f"p{self.quantile * 100:g} " if self.quantile is not None else ""
        return f"{stat}{self.quantity.label}" + (f" ({self.about})" if self.about else "")

    @property
    def about(self) -> str:
        """Which requests, for people."""
        first, end = self.places
        places = "" if self.places == (0, None) else f"models {first + 1} to {end or 'the last'}"
        return ", ".join(part for part in (self.flow, self.phase, places) if part)


def quantiles(values: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """Linearly interpolated; raises ``NothingMeasured`` on no values."""
    if not values:
        raise NothingMeasured("no answer to measure")
    return [float(found) for found in np.quantile(np.asarray(values), wanted)]


def value(measure: Measure, run: Run, round: int | None = None) -> float | None:
    """The figure over one round, or over all; None if the service does not report it.

    Raises ``NothingMeasured`` if there is no request to compute it from.
    """
    spans = [span for span in run.spans if _is_in(measure, span.phase, span.round, round)]
    samples = [
        sample
        for sample in run.samples
        if _is_in(measure, sample.phase, sample.round, round)
        and measure.flow in (None, sample.flow)
        and measure.places[0] <= sample.place
        and (measure.places[1] is None or sample.place < measure.places[1])
    ]
    latencies = LATENCIES.get(measure.quantity)
    if latencies is not None:
        assert measure.quantile is not None, f"{measure} needs a quantile"
        return quantiles(latencies(samples), [measure.quantile])[0]
    return COUNTS[measure.quantity](samples, spans, run)


def ttfts(samples: Sequence[Sample]) -> list[float]:
    return [sample.ttft_s for sample in samples if sample.ttft_s is not None]


def gaps(samples: Sequence[Sample]) -> list[float]:
    return [gap for sample in samples for gap in sample.gaps_s]


def totals(samples: Sequence[Sample]) -> list[float]:
    """Of complete answers; a client that disconnects has none."""
    return [sample.total_s for sample in samples if sample.end is End.DONE]


def lags(samples: Sequence[Sample]) -> list[float]:
    return [sample.sent_s - sample.scheduled_s for sample in samples]


LATENCIES: dict[Quantity, Callable[[Sequence[Sample]], list[float]]] = {
    Quantity.TTFT: ttfts,
    Quantity.GAP: gaps,
    Quantity.TOTAL: totals,
    Quantity.LAG: lags,
}


def failed(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    """Share of the requests."""
    _need(samples)
    return sum(sample.end is End.FAILED for sample in samples) / len(samples)


def wrong(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float | None:
    """Answers of another adapter than requested, or of a version that was not live; None without the header."""
    answered = [sample for sample in samples if sample.end is not End.FAILED]
    if not any(sample.adapter for sample in answered):
        return None if answered else _nothing()
    moved = history(run.moved)
    count = 0
    for sample in answered:
        if sample.model in moved:
            stale_s = staleness_s(sample, moved[sample.model])
            count += stale_s is None or stale_s > GRACE_S
        else:
            count += names_another(sample)
    return count


EXPLAINED = (503, 504, 507)
"""Statuses of 500 and above that the caller can act on."""


def server_errors(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    _need(samples)
    statuses = [sample.status for sample in samples if sample.status is not None]
    return sum(status >= 500 and status not in EXPLAINED for status in statuses)


def changed(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    """Compared with the answers to the same prompts by the same model in the first phase of their round."""
    first = {span.round: span.phase for span in sorted(run.spans, key=lambda span: -span.began_s)}
    known = {
        (sample.round, sample.prompt, sample.model): sample.answer
        for sample in run.samples
        if sample.answer is not None and sample.prompt is not None and sample.phase == first[sample.round]
    }
    compared = [
        (sample.answer, known[key])
        for sample in samples
        if sample.answer is not None
        and sample.phase != first[sample.round]
        and (key := (sample.round, sample.prompt, sample.model)) in known
    ]
    _need(compared)
    return sum(answer != before for answer, before in compared)


def stale(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float | None:
    moved = history(run.moved)
    named = [sample for sample in samples if sample.model in moved and sample.adapter]
    ages = [age for sample in named if (age := staleness_s(sample, moved[sample.model])) is not None]
    return max(ages) if ages else _nothing()


def versions(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    named = {(sample.model, sample.adapter) for sample in samples if sample.adapter}
    return len(named) / len({model for model, _ in named}) if named else _nothing()


def moves_failed(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    _need(run.moved)
    return sum(move.version is None for move in run.moved)


def speed(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    _need(spans)
    return sum(sample.tokens for sample in samples) / sum(span.ended_s - span.began_s for span in spans)


def spread(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float:
    by_model: dict[str, list[float]] = {}
    for sample in samples:
        if sample.end is End.DONE:
            by_model.setdefault(sample.model, []).append(sample.total_s)
    means = [statistics.fmean(times) for times in by_model.values() if len(times) >= ENOUGH]
    return max(means) / statistics.fmean(means) if len(means) > 1 else _nothing()


def memory(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float | None:
    """Growth from the begin of the spans to the most memory seen within them, in MiB."""
    growths = []
    for span in spans:
        seen = [
            look.memory_bytes
            for look in run.looks
            if look.memory_bytes is not None and span.began_s <= look.at_s <= span.ended_s
        ]
        growths += [max(seen) - seen[0]] if seen else []
    return max(growths) / (1 << 20) if growths else None


def settled(samples: Sequence[Sample], spans: Sequence[Span], run: Run) -> float | None:
    times = [span.settled_s for span in spans if span.settled_s is not None]
    return max(times, default=None)


COUNTS: dict[Quantity, Callable[[Sequence[Sample], Sequence[Span], Run], float | None]] = {
    Quantity.FAILED: failed,
    Quantity.WRONG: wrong,
    Quantity.SERVER_ERRORS: server_errors,
    Quantity.CHANGED: changed,
    Quantity.STALE: stale,
    Quantity.VERSIONS: versions,
    Quantity.MOVES_FAILED: moves_failed,
    Quantity.SPEED: speed,
    Quantity.SPREAD: spread,
    Quantity.MEMORY: memory,
    Quantity.SETTLED: settled,
}


def _is_in(measure: Measure, phase: str, of_round: int, round: int | None) -> bool:
    return measure.phase in (None, phase) and round in (None, of_round)


def _need(values: Sequence[object]) -> None:
    if not values:
        _nothing()


def _nothing() -> float:
    raise NothingMeasured("no answer to measure")


def ratio(upper: float, lower: float) -> float:
    """``upper / lower``; 0 over 0 is 1."""
    if lower == 0:
        return 1.0 if upper == 0 else math.inf
    return upper / lower
