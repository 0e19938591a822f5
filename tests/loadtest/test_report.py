"""The result file: everything in it, and small."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from loadtest.limits import Limit, judge
from loadtest.measure import Measure, Quantity
from loadtest.report import (
    GAPS_KEPT,
    SAMPLES_KEPT,
    Result,
    columns,
    compact_json,
    digest,
    document,
    errors,
    print_result,
    rows,
)
from loadtest.samples import Run
from loadtest.scenarios import SCENARIOS
from tests.loadtest.runs import DONE, FAILED, run_of


def result_of(run: Run, *limits: Limit) -> Result:
    scenario = replace(SCENARIOS["base_open"], limits=limits)
    return Result(scenario, run, tuple(judge(limit, run) for limit in limits), {"commit": "abc", "seed": 1})


def test_samples_come_back_from_their_columns() -> None:
    found = columns([DONE, replace(FAILED, model="t/a")])
    names = found["names"]
    assert isinstance(names, list)
    assert found == {
        "of": 2,
        "every": 1,
        "names": ["steady", "base", "done", "t/a", "failed"],
        "phase": [0, 0],
        "round": [1, 1],
        "flow": [1, 1],
        "model": [1, 3],
        "adapter": [1, None],
        "end": [2, 4],
        "status": [200, 503],
        "error": {"1": "503 overloaded"},
        "tokens": [3, 0],
        "scheduled_ms": [1000.0, 1000.0],
        "sent_ms": [1000.0, 1000.0],
        "first_ms": [1500.0, None],
        "last_ms": [3000.0, 3000.0],
        "gaps_ms": [[500.0, 1000.0], []],
    }


def test_a_long_run_is_thinned_and_says_so() -> None:
    sample = replace(DONE, scheduled_s=88888.8888, sent_s=88888.8888, last_s=99999.9999, gaps_s=(0.123456,) * 32)
    result = result_of(run_of(*[sample] * 20_000), Limit(Measure(Quantity.FAILED), at_most=0))
    found = columns(result.run.samples)
    gaps_ms = found["gaps_ms"]
    assert isinstance(gaps_ms, list)
    assert len(gaps_ms) <= SAMPLES_KEPT
    assert sum(map(len, gaps_ms)) <= GAPS_KEPT
    assert (found["of"], found["every"]) == (20_000, 8)
    assert len(compact_json(document(result))) < 1_000_000


def test_the_document_is_json_even_of_an_infinite_ratio() -> None:
    never = Measure(Quantity.STALE)
    limit = Limit(Measure(Quantity.FAILED, phase="bad"), at_most=1.5, against=Measure(Quantity.FAILED, phase="good"))
    run = run_of(replace(FAILED, phase="bad"), replace(DONE, phase="good"))
    text = compact_json(document(result_of(run, limit, Limit(never, at_most=1))))
    found = json.loads(text)
    assert found["held"] is False
    assert [one["value"] for one in found["limits"]] == ["inf", None]
    assert found["errors"] == {"503 overloaded": 1}
    assert found["commit"] == "abc"


def test_rows_are_flows_of_phases_in_their_order() -> None:
    run = run_of(replace(DONE, phase="b"), replace(DONE, phase="a"), replace(DONE, phase="a", flow="all"))
    assert [(row.phase, row.flow) for row in rows(run)] == [("b", "base"), ("a", "all"), ("a", "base")]
    summary = digest(result_of(run))["summary"]
    assert isinstance(summary, list)
    assert summary[0] == {
        "flow": "base",
        "phase": "b",
        "requests": 1,
        "failed": 0,
        "hung_up": 0,
        "tokens_per_s": 0.3,
        "ttft_s": {"p50": 0.5, "p95": 0.5, "p99": 0.5},
        "gap_s": {"p50": 0.75, "p95": 0.975, "p99": 0.995},
        "total_s": {"p50": 2.0, "p95": 2.0, "p99": 2.0},
    }


def test_errors_are_counted_by_name() -> None:
    other = replace(FAILED, error="ReadTimeout")
    assert list(errors([DONE, FAILED, other, other]).items()) == [("ReadTimeout", 2), ("503 overloaded", 1)]


def test_people_read_what_broke() -> None:
    said = io.StringIO()
    run = run_of(DONE, FAILED)
    limits = (
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.TTFT, 0.5), at_most=1),
        Limit(Measure(Quantity.MEMORY), at_most=1),
    )
    print_result(result_of(run, *limits), Console(file=said, width=120))
    lines = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert "share of requests that failed ≤ 0 0.5 BROKEN" in lines
    assert "p50 time to first token ≤ 1 s 0.5 held" in lines
    assert any(line.startswith("growth of the service's memory ≤ 1 MiB - not measured") for line in lines)
    assert "1 × 503 overloaded" in lines
