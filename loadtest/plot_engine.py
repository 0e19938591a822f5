"""A picture of the engine's benchmark: steps stacked by phase, their floor, and shares of the base's throughput."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.plots import COLOURS, STYLE

PHASE_COLOURS = (*COLOURS, "#AAAAAA", "#CCCC66")
"""One per phase, in the order of ``service.engine.kernels.native.PHASES``."""


def draw(document: dict[str, Any], file: Path) -> None:
    """Write the picture of a result of ``bench_engine``."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 5.6), layout="constrained")
        steps, shares = figure.subplots(1, 2)
        _draw_steps(steps, document["decode"])
        _draw_shares(shares, document["decode"])
        figure.suptitle(
            f"Decode steps, {document['backend']}, {document['threads']} threads, {document['processor']}"
        )
        figure.savefig(file, dpi=110)


def _draw_steps(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """In units of each step's own floor, so that batch sizes can be compared."""
    names = [f"{row['batch']}\n{row['adapters'] or 'base'}" for row in rows]
    bottom = [0.0] * len(rows)
    for at, phase in enumerate(rows[0]["phases_s"]):
        heights = [1e3 * row["phases_s"][phase] / row["floor_ms"] for row in rows]
        axes.bar(names, heights, bottom=bottom, color=PHASE_COLOURS[at], label=phase, width=0.7)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    whole = [row["times_the_floor"] for row in rows]
    axes.plot(names, whole, ls="", marker="_", ms=18, mew=2, color="black", label="whole step")
    axes.axhline(1, color="#B03A00", lw=1.5, label="floor")
    axes.set_ylabel("times the floor")
    axes.set_xlabel("rows of the step, and distinct adapters among them")
    axes.legend(fontsize=8, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.17))


def _draw_shares(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for at, batch in enumerate(dict.fromkeys(row["batch"] for row in rows)):
        mine = [row for row in rows if row["batch"] == batch]
        shares = [statistics.median(row["share_of_base"]) for row in mine]
        names = [str(row["adapters"]) for row in mine]
        label = f"{batch} row{'s' * (batch > 1)}"
        axes.plot(names, shares, "o-", color=COLOURS[at], label=label, lw=1.8)
    axes.axhline(1, color="grey", lw=0.6, ls=":")
    axes.set_ylim(0, 1.1)
    axes.set_ylabel("share of the base's throughput")
    axes.set_xlabel("distinct adapters in the step")
    axes.legend()
