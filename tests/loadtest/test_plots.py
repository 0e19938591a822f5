"""Pictures of a run: each is drawn, has its axes named, and says whether the limits held."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest import plots
from loadtest.limits import Limit, judge
from loadtest.measure import Measure, Quantity
from loadtest.report import Result
from loadtest.samples import End, Look, Moved, Run, Sample, Span
from loadtest.scenarios import SCENARIOS
from tests.loadtest.runs import DONE, FAILED, run_of


def adapter_sample(at: int) -> Sample:
    model = f"t/a{at % 2}"
    return replace(
        DONE, flow="adapters", model=model, place=at % 2, adapter=f"{model}@{1 + at % 3}", sent_s=float(at)
    )


@pytest.fixture
def result() -> Result:
    samples = (
        *(adapter_sample(at) for at in range(8)),
        FAILED,
        replace(DONE, phase="later", end=End.LEFT),
        replace(DONE, phase="later", gaps_s=(0.0, 0.0)),
    )
    spans = (Span("steady", 1, 0.0, 6.0), Span("later", 1, 6.0, 9.5))
    moved = (Moved("t/a0", 2, 1.0, 1.1), Moved("t/a1", 3, 2.0, 2.1), Moved("t/a0", 1, 3.0, 3.1))
    looks = tuple(Look(float(at), (500 + at) << 20, at % 3) for at in range(9))
    run = Run(samples, spans, moved, looks, bursts_s=(2.5,))
    limits = (Limit(Measure(Quantity.FAILED), at_most=0), Limit(Measure(Quantity.TTFT, 0.95), at_most=3))
    scenario = replace(SCENARIOS["swap"], limits=limits)
    origin: dict[str, object] = {
        "commit": "abc",
        "cores": 2,
        "processor": "P",
        "model": "base",
        "seed": 1,
        "scale": 1,
    }
    return Result(scenario, run, tuple(judge(limit, run) for limit in limits), origin)


def test_every_picture_is_drawn(result: Result, tmp_path: Path) -> None:
    files = plots.draw_all(result, tmp_path)
    assert [file.name for file in files] == ["latency.png", "timeline.png", "adapters.png", "versions.png"]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert 10_000 < file.stat().st_size < 1_000_000


def test_one_model_that_never_moved_has_nothing_to_compare(result: Result, tmp_path: Path) -> None:
    lonely = replace(result, run=run_of(DONE))
    assert [file.name for file in plots.draw_all(lonely, tmp_path)] == ["latency.png", "timeline.png"]


def test_a_run_in_which_everything_failed_is_drawn_too(result: Result, tmp_path: Path) -> None:
    assert plots.draw_all(replace(result, run=run_of(FAILED, FAILED)), tmp_path)


@pytest.mark.parametrize("draw", [plots.latency, plots.timeline, plots.adapters, plots.versions])
def test_a_picture_says_what_was_asked_and_what_broke(result: Result, draw: plots.Draw) -> None:
    figure = draw(result)
    assert " ".join(figure.get_suptitle().split()) == f"swap: {result.scenario.question}"
    assert figure.axes[0].get_title(loc="left") == "BROKEN: share of requests that failed ≤ 0"
    held = draw(replace(result, verdicts=result.verdicts[1:]))
    assert held.axes[0].get_title(loc="left") == "all limits held"
    assert "commit abc, 2 cores of P" in figure.get_supxlabel()
    lowest = [axes for axes in figure.axes if axes.get_subplotspec().is_last_row()]  # type: ignore[union-attr]
    assert all(axes.get_xlabel() for axes in lowest)


def test_without_matplotlib_the_command_names_the_extra(tmp_path: Path) -> None:
    # In a process of its own: matplotlib is loaded here already.
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from loadtest.__main__ import main\n"
        f"sys.exit(main(['run', 'base_open', '--url', 'http://127.0.0.1:9/v1', '--out', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "quickchange[bench]" in done.stderr
