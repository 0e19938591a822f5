"""A run as a document and as tables: the question, the limits, every sample in columns."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from loadtest.limits import Verdict, all_held
from loadtest.measure import gaps, quantiles, totals, ttfts
from loadtest.samples import End, Run, Sample
from loadtest.scenario import Cast, Scenario

GAPS_KEPT = 120_000
"""Bounds the inter-token latencies of a file, which then stays below a megabyte."""
SAMPLES_KEPT = 5_000
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario, its run, and the verdicts on its limits."""

    scenario: Scenario
    run: Run
    verdicts: tuple[Verdict, ...]
    origin: dict[str, object]
    """Command, commit, machine, versions, service, seed, scale."""

    @property
    def held(self) -> bool:
        return all_held(self.verdicts)


@dataclass(frozen=True, slots=True)
class Row:
    """One flow in one phase, over all rounds."""

    flow: str
    phase: str
    samples: tuple[Sample, ...]
    seconds: float


def rows(run: Run) -> list[Row]:
    """One row per flow and phase, in the order of the phases."""
    seconds: dict[str, float] = {}
    for span in run.spans:
        seconds[span.phase] = seconds.get(span.phase, 0.0) + span.ended_s - span.began_s
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in run.samples:
        found.setdefault((sample.phase, sample.flow), []).append(sample)
    order = {phase: at for at, phase in enumerate(seconds)}
    return [
        Row(flow, phase, tuple(samples), seconds[phase])
        for (phase, flow), samples in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def summary(row: Row) -> dict[str, object]:
    """Counts, tokens per second, and quantiles in seconds."""
    figures: dict[str, object] = {
        "flow": row.flow,
        "phase": row.phase,
        "requests": len(row.samples),
        "failed": sum(sample.end is End.FAILED for sample in row.samples),
        "hung_up": sum(sample.end is End.LEFT for sample in row.samples),
        "tokens_per_s": round(sum(sample.tokens for sample in row.samples) / row.seconds, 2),
    }
    for name, latencies in (("ttft_s", ttfts), ("gap_s", gaps), ("total_s", totals)):
        values = latencies(row.samples)
        figures[name] = (
            {f"p{q * 100:g}": round(v, 4) for q, v in zip(QUANTILES, quantiles(values, QUANTILES), strict=True)}
            if values
            else None
        )
    return figures


def errors(samples: Sequence[Sample]) -> dict[str, int]:
    """Failures by name with their counts, the most frequent first."""
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.end is End.FAILED:
            counts[sample.error or "?"] = counts.get(sample.error or "?", 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def digest(result: Result) -> dict[str, object]:
    """Everything but the raw samples."""
    return {
        "scenario": result.scenario.name,
        "question": result.scenario.question,
        "held": result.held,
        **result.origin,
        "limits": [_limit(verdict) for verdict in result.verdicts],
        "summary": [summary(row) for row in rows(result.run)],
        "errors": errors(result.run.samples),
    }


def document(result: Result) -> dict[str, object]:
    """The whole result file. Times in ms since the first phase began; ``every`` n: each n-th sample was kept."""
    run = result.run
    return digest(result) | {
        "spans": [
            {"phase": s.phase, "round": s.round, "began_ms": _ms(s.began_s), "ended_ms": _ms(s.ended_s)}
            | ({} if s.settled_s is None else {"settled_ms": _ms(s.settled_s)})
            for s in run.spans
        ],
        "moves": {
            "adapter": [m.adapter for m in run.moved],
            "version": [m.version for m in run.moved],
            "began_ms": [_ms(m.began_s) for m in run.moved],
            "done_ms": [_ms(m.done_s) for m in run.moved],
            "error": {str(at): m.error for at, m in enumerate(run.moved) if m.error},
        },
        "bursts_ms": [_ms(at_s) for at_s in run.bursts_s],
        "looks": {
            "at_ms": [_ms(look.at_s) for look in run.looks],
            "memory_mib": [None if look.memory_bytes is None else look.memory_bytes >> 20 for look in run.looks],
            "running": [look.running for look in run.looks],
        },
        "samples": columns(run.samples),
    }


def columns(samples: Sequence[Sample]) -> dict[str, object]:
    """One array per field. Names and errors are in a table, and the arrays contain their indexes in it."""
    every = -(-len(samples) // SAMPLES_KEPT) or 1
    every *= -(-sum(len(sample.gaps_s) for sample in samples[::every]) // GAPS_KEPT) or 1
    kept = samples[::every]
    names = {name: at for at, name in enumerate(dict.fromkeys(_names(kept)))}
    return {
        "of": len(samples),
        "every": every,
        "names": list(names),
        "phase": [names[s.phase] for s in kept],
        "round": [s.round for s in kept],
        "flow": [names[s.flow] for s in kept],
        "model": [names[s.model] for s in kept],
        "adapter": [None if s.adapter is None else names[s.adapter] for s in kept],
        "end": [names[s.end] for s in kept],
        "status": [s.status for s in kept],
        "error": {str(at): s.error for at, s in enumerate(kept) if s.error},
        "tokens": [s.tokens for s in kept],
        "scheduled_ms": [_ms(s.scheduled_s) for s in kept],
        "sent_ms": [_ms(s.sent_s) for s in kept],
        "first_ms": [None if s.first_s is None else _ms(s.first_s) for s in kept],
        "last_ms": [_ms(s.last_s) for s in kept],
        "gaps_ms": [[_ms(gap) for gap in s.gaps_s] for s in kept],
    }


def compact_json(value: object, depth: int = 2) -> str:
    """JSON with one line per key of the upper ``depth`` levels: small, and readable in a diff."""
    if isinstance(value, dict) and value and depth:
        lines = (f"{json.dumps(key)}: {compact_json(inner, depth - 1)}" for key, inner in value.items())
        return "{\n" + ",\n".join(lines) + "\n}"
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def print_result(result: Result, console: Console) -> None:
    """Prints limits, then latencies, then failures."""
    console.print(f"\n[bold]{result.scenario.name}[/bold]  {result.scenario.question}")
    limits = Table("limit", "found", "", box=None, pad_edge=False)
    for verdict in result.verdicts:
        why = f": {verdict.why}" if verdict.why else ""
        limits.add_row(str(verdict.limit), _found(verdict), _MARKS[verdict.held] + why)
    console.print(limits)
    table = Table(box=None, pad_edge=False)
    for head in ("flow", "phase", "requests", "failed", "tokens/s", *_HEADS):
        table.add_column(head, justify="left" if head in ("flow", "phase") else "right")
    for row in rows(result.run):
        figures = summary(row)
        cells = [figures[key] for key in ("flow", "phase", "requests", "failed", "tokens_per_s")]
        table.add_row(*map(str, cells), *(_cell(figures[name], stat) for name, stat in _HEADS.values()))
    console.print(table)
    for error, count in errors(result.run.samples).items():
        console.print(f"[red]{count} × {error}[/red]", highlight=False)


_MARKS = {True: "[green]held[/green]", False: "[red]BROKEN[/red]", None: "[yellow]not measured[/yellow]"}
_HEADS = {
    "first token\np50 s": ("ttft_s", "p50"),
    "\np95 s": ("ttft_s", "p95"),
    "inter-token\np50 s": ("gap_s", "p50"),
    "\np99 s": ("gap_s", "p99"),
    "last token\np50 s": ("total_s", "p50"),
    "\np95 s ": ("total_s", "p95"),
}


def _cell(figures: object, stat: str) -> str:
    return f"{figures[stat]:.3g}" if isinstance(figures, dict) else "-"


def _found(verdict: Verdict) -> str:
    if verdict.value is None:
        return "-"
    rounds = f" ({', '.join(f'{value:.2f}' for value in verdict.rounds)})" if len(verdict.rounds) > 1 else ""
    return f"{verdict.value:.3g}{rounds}"


def _limit(verdict: Verdict) -> dict[str, object]:
    limit = verdict.limit
    return {
        "limit": str(limit),
        "value": _finite(verdict.value),
        "at_most": limit.at_most,
        "at_least": limit.at_least,
        "held": verdict.held,
        "why": verdict.why,
        "rounds": [_finite(value) for value in verdict.rounds],
    }


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return value if value is None or math.isfinite(value) else str(value)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _names(samples: Sequence[Sample]) -> list[str]:
    return [name for s in samples for name in (s.phase, s.flow, s.model, s.adapter, s.end) if name is not None]


def print_scenario(scenario: Scenario, console: Console) -> None:
    """Prints the question and the limits."""
    needs = scenario.needs(1.0)
    plan = scenario.plan(Cast("base", tuple(f"t/a{at}" for at in range(needs.adapters))), 1.0)
    seconds = sum(phase.seconds for phase in plan.phases)
    console.print(f"[bold]{scenario.name}[/bold]  {scenario.question}")
    console.print(
        f"  about {seconds:.0f} s" + (f", {needs.adapters} adapters" if needs.adapters else ""), highlight=False
    )
    for limit in scenario.limits:
        console.print(f"  {limit}", highlight=False)
