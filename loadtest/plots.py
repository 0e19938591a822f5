"""Pictures of a run: latencies, a timeline, figures per adapter, and the version of each answer.

The colours are Okabe and Ito's, which people with colour-blindness can distinguish.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from loadtest.limits import Verdict
from loadtest.measure import Quantity, gaps, quantiles, totals, ttfts
from loadtest.report import Result, Row, rows
from loadtest.samples import End, Run, Sample
from loadtest.versions import history

Draw = Callable[[Result], Figure]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#8C7A00")
HELD, BROKEN, EVENT, SHADE = "#00664A", "#B03A00", "#D55E00", "#EEF2F6"
STYLE: dict[Any, Any] = {  # keys of matplotlibrc
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
PANELS: tuple[tuple[Quantity, Callable[[Sequence[Sample]], list[float]]], ...] = (
    (Quantity.TTFT, ttfts),
    (Quantity.GAP, gaps),
    (Quantity.TOTAL, totals),
)
MOST_ADAPTERS = 48
SHORTEST_S = 1e-3
"""Chunks that arrived together are drawn here, because a log scale has no zero."""


def draw_all(result: Result, folder: Path) -> list[Path]:
    """Writes the pictures for which this run has data; returns their paths."""
    with mpl.rc_context(STYLE):
        pictures = {"latency.png": latency(result), "timeline.png": timeline(result)}
        if len({sample.model for sample in result.run.samples}) > 1:
            pictures["adapters.png"] = adapters(result)
        if result.run.moved:
            pictures["versions.png"] = versions(result)
        for name, figure in pictures.items():
            figure.savefig(folder / name)
    return [folder / name for name in pictures]


def latency(result: Result) -> Figure:
    """Cumulative distributions of the latencies."""
    figure, panels = _figure(result, 1, 3, (13, 5.2))
    found = rows(result.run)
    for axes, (quantity, take) in zip(panels, PANELS, strict=True):
        for at, row in enumerate(found):
            values = np.sort(np.asarray(take(row.samples)))
            if values.size:
                share = np.arange(1, values.size + 1) / values.size
                axes.step(
                    np.maximum(values, SHORTEST_S),
                    share,
                    where="post",
                    color=_colour(at),
                    label=_name(row, found),
                    lw=1.8,
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{quantity.label} (log scale)")
        axes.set_ylim(0, 1.02)
        for line in (0.5, 0.95, 0.99):
            axes.axhline(line, color="grey", lw=0.6, ls=":")
        _draw_limits(axes, quantity, result.verdicts)
        low, high = axes.get_xlim()
        subs = (1.0, 2.0, 5.0) if high < 30 * low else (1.0, 3.0) if high < 300 * low else (1.0,)
        axes.xaxis.set_major_locator(MaxNLocator(4) if high < 4 * low else LogLocator(subs=subs))
    panels[0].set_ylabel("share of requests (of gaps in the middle)")
    handles = {text: drawn for axes in panels for drawn, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside right upper")
    return figure


def timeline(result: Result) -> Figure:
    """Tokens, requests and load per second, with phases and events."""
    run = result.run
    memory = [look for look in run.looks if look.memory_bytes is not None]
    figure, panels = _figure(result, 4 if memory else 3, 1, (13, 10 if memory else 8.2), sharex=True)
    end_s = max([span.ended_s for span in run.spans], default=1.0)
    flows = list(dict.fromkeys(sample.flow for sample in run.samples))
    edges = np.arange(0, np.ceil(end_s) + 1, 1.0)
    if edges.size > 1:
        _draw_tokens(panels[0], run, flows, edges)
        _draw_requests(panels[1], run, edges)
    _draw_in_flight(panels[2], run, flows, end_s)
    if memory:
        panels[3].plot([look.at_s for look in memory], [(look.memory_bytes or 0) / (1 << 20) for look in memory])
        panels[3].set_ylabel("memory of the\nservice (MiB)")
    for axes in panels:
        _draw_events(axes, run)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _name_phases(panels[0], run)
    panels[-1].set_xlabel("time since the run began (s)")
    panels[-1].set_xlim(0, end_s)
    return figure


def adapters(result: Result) -> Figure:
    """Tokens and latency of every adapter, the most requested first."""
    models: dict[str, list[Sample]] = {}
    for sample in sorted(result.run.samples, key=lambda sample: sample.place):
        models.setdefault(sample.model, []).append(sample)
    shown = list(models.items())[:MOST_ADAPTERS]
    seconds = sum(span.ended_s - span.began_s for span in result.run.spans)
    figure, (left, right) = _figure(result, 1, 2, (13, max(4.5, 0.24 * len(shown) + 2.4)), sharey=True)
    places = np.arange(len(shown))
    speeds = [sum(sample.tokens for sample in samples) / seconds for _, samples in shown]
    left.barh(places, speeds, color=COLOURS[0], height=0.7)
    for place, (speed, (_, samples)) in enumerate(zip(speeds, shown, strict=True)):
        left.text(speed, place, f" {len(samples)}", va="center", fontsize=8, color="grey")
    left.set_xlabel("tokens per second over the whole run (next to the bar: requests)")
    left.set_yticks(places, [_short(name) for name, _ in shown])
    left.invert_yaxis()
    for at, (quantity, take) in enumerate(((Quantity.TTFT, ttfts), (Quantity.TOTAL, totals))):
        drawn = [(place, quantiles(values, (0.5, 0.95))) for place, (_, s) in enumerate(shown) if (values := take(s))]
        height = [place + 0.14 * (2 * at - 1) for place, _ in drawn]
        low, high = ([found[end] for _, found in drawn] for end in (0, 1))
        right.hlines(height, low, high, color=_colour(at), lw=3, alpha=0.45)
        right.plot(low, height, "o", color=_colour(at), ms=5, label=f"{quantity.label}: median, line to p95")
    right.set_xlim(left=0)
    right.set_xlabel("seconds")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    return figure


def versions(result: Result) -> Figure:
    """For each adapter, the version that its alias pointed at, and the version that each answer named."""
    run = result.run
    lives = history(run.moved)
    numbers = sorted({live.version for stretches in lives.values() for live in stretches})
    colour = {number: _colour(at) for at, number in enumerate(numbers)}
    figure, (axes,) = _figure(result, 1, 1, (13, 1.1 * len(lives) + 3))
    end_s = max(span.ended_s for span in run.spans)
    lanes = {name: lane for lane, name in enumerate(lives)}
    for name, stretches in lives.items():
        for live in stretches:
            begin, end = max(live.from_s, 0.0), min(live.until_s, end_s)
            axes.barh(lanes[name] + 0.18, end - begin, left=begin, height=0.3, color=colour[live.version], alpha=0.35)
    for number in numbers:
        seen = [
            sample
            for sample in run.samples
            if sample.model in lanes and sample.adapter == f"{sample.model}@{number}" and sample.first_s is not None
        ]
        axes.plot(
            [sample.sent_s for sample in seen],
            [lanes[sample.model] - 0.18 for sample in seen],
            "|",
            color=colour[number],
            ms=11,
            mew=1.6,
            label=f"version {number}",
        )
    axes.set_yticks(list(lanes.values()), [_short(name) for name in lanes])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, end_s)
    axes.set_xlabel(
        "time since the run began (s); bar: where the alias pointed, ticks: version named by requests sent then"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _name_phases(axes, run)
    return figure


def _figure(
    result: Result, down: int, across: int, size: tuple[float, float], *, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """An empty figure with a head: the question, whether the limits held, and the machine."""
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey)
    broken = [verdict for verdict in result.verdicts if verdict.held is False]
    said = "all limits held" if not broken else "BROKEN: " + "; ".join(str(verdict.limit) for verdict in broken)
    text, colour = textwrap.fill(said, 130), BROKEN if broken else HELD
    figure.suptitle(_balanced(f"{result.scenario.name}: {result.scenario.question}"), fontsize=13, weight="bold")
    # Below the suptitle, the layout reserves space only for the title of the first axes.
    panels[0][0].set_title(text, loc="left", color=colour, fontsize=10, pad=26)
    origin = result.origin
    parts = [f"commit {origin.get('commit')}", f"{origin.get('cores')} cores of {origin.get('processor')}"]
    parts += [str(origin.get("model")), f"seed {origin.get('seed')}, scale {origin.get('scale')}"]
    figure.supxlabel(", ".join(parts), fontsize=8, color="grey", x=0.99, ha="right")
    return figure, list(panels.flat)


def _balanced(title: str) -> str:
    """Breaks a long title into two lines of about the same length."""
    return title if len(title) < 90 else textwrap.fill(title, len(title) // 2 + 8)


def _draw_limits(axes: Axes, quantity: Quantity, verdicts: tuple[Verdict, ...]) -> None:
    """Draws absolute limits on a quantile as marks; the curves of those requests must pass on the left."""
    for verdict in verdicts:
        limit = verdict.limit
        if limit.measure.quantity is quantity and limit.at_most is not None and limit.against is None:
            at_s, share = limit.at_most, limit.measure.quantile or 0.0
            colour = BROKEN if verdict.held is False else HELD
            axes.plot([at_s, at_s], [share - 0.06, share], color=colour, lw=2)
            axes.annotate(
                f"limit p{share * 100:g}", (at_s, share - 0.07), ha="center", va="top", fontsize=8, color=colour
            )


def _draw_tokens(axes: Axes, run: Run, flows: list[str], edges: np.ndarray) -> None:
    """Stacked by flow; an answer's tokens are spread over its chunks."""
    stacked = []
    for flow in flows:
        times: list[float] = []
        tokens: list[float] = []
        for sample in run.samples:
            if sample.flow == flow and sample.first_s is not None:
                came = sample.first_s + np.concatenate(([0.0], np.cumsum(sample.gaps_s)))
                times.extend(came)
                tokens.extend([sample.tokens / came.size] * came.size)
        stacked.append(np.histogram(times, bins=edges, weights=tokens)[0])
    axes.stackplot(
        edges[:-1],
        stacked,
        step="post",
        labels=flows,
        colors=[_colour(at) for at in range(len(flows))],
        alpha=0.75,
        lw=0,
    )
    axes.set_ylabel("tokens per second")
    axes.set_ylim(bottom=0)


def _draw_requests(axes: Axes, run: Run, edges: np.ndarray) -> None:
    kinds = (
        ("sent", COLOURS[5], [sample.sent_s for sample in run.samples]),
        ("answered", COLOURS[2], [sample.last_s for sample in run.samples if sample.end is End.DONE]),
        ("disconnected", COLOURS[6], [sample.last_s for sample in run.samples if sample.end is End.LEFT]),
        ("failed", COLOURS[3], [sample.last_s for sample in run.samples if sample.end is End.FAILED]),
    )
    for name, colour, times in kinds:
        if times:
            axes.stairs(np.histogram(times, bins=edges)[0], edges, label=name, color=colour, lw=1.6)
    axes.set_ylabel("requests per second")
    axes.set_ylim(bottom=0)


def _draw_in_flight(axes: Axes, run: Run, flows: list[str], end_s: float) -> None:
    for at, flow in enumerate(flows):
        mine = [sample for sample in run.samples if sample.flow == flow]
        changes = sorted([(sample.scheduled_s, 1) for sample in mine] + [(sample.last_s, -1) for sample in mine])
        times = [0.0, *(time_s for time_s, _ in changes), end_s]
        counts = np.concatenate(([0], np.cumsum([change for _, change in changes]), [0]))
        axes.step(times, counts, where="post", color=_colour(at), label=f"{flow}, by the client", lw=1.5)
    seen = [look for look in run.looks if look.running is not None]
    if seen:
        axes.plot(
            [look.at_s for look in seen],
            [look.running or 0 for look in seen],
            "k.",
            ms=4,
            label="running, says the service",
        )
    axes.set_ylabel("requests in flight")
    axes.set_ylim(bottom=0)


def _draw_events(axes: Axes, run: Run) -> None:
    for at, span in enumerate(run.spans):
        if at % 2 == 0:
            axes.axvspan(span.began_s, span.ended_s, color=SHADE, zorder=0, lw=0)
    for move in run.moved:
        axes.axvline(move.began_s, ymax=0.06, color=EVENT, lw=0.8)
    for burst_s in run.bursts_s:
        axes.axvline(burst_s, color=EVENT, lw=0.9, ls="--", alpha=0.7)
    if run.moved:
        axes.plot([], [], color=EVENT, lw=0.8, label="alias moved")
    if run.bursts_s:
        axes.plot([], [], color=EVENT, lw=0.9, ls="--", label="burst sent")


def _name_phases(axes: Axes, run: Run) -> None:
    for span in run.spans:
        name = span.phase if span.round == 1 and len(run.spans) < 6 else f"{span.phase} {span.round}"
        middle = (span.began_s + span.ended_s) / 2
        axes.annotate(
            name,
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )


def _name(row: Row, found: list[Row]) -> str:
    return row.flow if len({other.phase for other in found}) == 1 else f"{row.flow}, {row.phase}"


def _short(model: str) -> str:
    """Without the tenant, which is new in each run."""
    return model.rpartition("/")[2]


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]
