"""The figures that README and docs/benchmarks.md show are those of the result files."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "loadtest" / "results"
README = (ROOT / "README.md").read_text()
BENCHMARKS = " ".join((ROOT / "docs" / "benchmarks.md").read_text().split())
COLUMNS = [
    *("base c1", "base c8", "base c32", "1 adapter c8", "1 adapter c32", "8 adapters c8", "8 adapters c32"),
    "32 adapters c32",
]


def result(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


@pytest.mark.parametrize(
    ("server", "file"),
    [
        ("Quickchange", "http.json"),
        ("Quickchange", "peers/quickchange.json"),
        ("vLLM 0.32 for CPU, LoRA on", "peers/vllm-lora.json"),
        ("vLLM 0.32 for CPU, LoRA off, compiled", "peers/vllm-base.json"),
        ("llama.cpp server, LoRA loaded", "peers/llama-lora.json"),
        ("llama.cpp server, no LoRA loaded", "peers/llama-base.json"),
    ],
)
def test_over_http(server: str, file: str) -> None:
    found = result(file)
    rates = {column: f"{statistics.median(samples):.0f}" for column, samples in found["tokens_per_s"].items()}
    first = f"{1000 * statistics.median(found['first_token_of_512_s']):.0f} ms"
    cells = [server, *(rates.get(column, "–") for column in COLUMNS), first]
    assert f"| {' | '.join(cells)} |\n" in README
    assert f"| output tokens/s | {' | '.join(COLUMNS)} | first token of 512 |\n" in README


def test_the_engine_alone() -> None:
    decode = {(row["batch"], row["adapters"]): row for row in result("engine.json")["decode"]}
    for batch in (1, 8, 32, 128):
        rows = (decode.get((batch, adapters)) for adapters in (0, 8, 32))
        shown = [f"{row['tokens_per_s']:.0f} ({row['times_the_floor']:.2f})" if row else "–" for row in rows]
        assert f"| {batch} | {' | '.join(shown)} |" in BENCHMARKS


def test_shares_of_the_engine() -> None:
    mixes = result("share.json")["mixes"]
    one, base, eight = (
        f"{statistics.median(mixes[mix]['share_of_the_engine']):.0%}".replace("%", " %")
        for mix in ("0 adapters c1", "0 adapters c32", "8 adapters c32")
    )
    said = f"{one} of the engine's throughput for one client, {base} for 32 clients on the base, and {eight} for 32"
    assert said in BENCHMARKS


def test_a_full_registry() -> None:
    found = result("registry.json")
    lookup, resolve, page, move = (
        found["samples_s"][name]
        for name in (
            *("gateway look-up", "registry resolve over HTTP", "list page of 500 over HTTP"),
            "alias move until the gateway has it",
        )
    )
    assert f"in {_median(lookup, 1e6):.0f} µs (p99 {_p99(lookup, 1e6):.0f} µs)" in BENCHMARKS
    assert f"takes {found['gateway_live_bytes'] / 1e6:.0f} MB of gateway memory" in BENCHMARKS
    assert f"a name in {_median(resolve, 1e3):.1f} ms (p99 {_p99(resolve, 1e3):.1f} ms)" in BENCHMARKS
    assert f"a page of 500 adapters in {_median(page, 1e3):.0f} ms" in BENCHMARKS
    assert f"a moved alias after {_median(move, 1e3):.0f} ms (p99 {_p99(move, 1e3):.0f} ms)" in BENCHMARKS


def test_refusals_and_feedback() -> None:
    comparisons = result("tenancy.json")["comparisons"]
    for pair in ("unknown adapter / foreign adapter", "unknown key / wrong secret"):
        low, high = comparisons[pair]["ratio_95"]
        assert f"{comparisons[pair]['ratio']:.3f} ({low:.3f} to {high:.3f}) times as long" in BENCHMARKS
    feedback = result("feedback.json")
    ratios, log = feedback["tokens_per_s"]["ratios"], feedback["events_per_s"]["log"]
    assert f"is {_median(ratios):.3f} (pairs from {min(ratios):.2f} to {max(ratios):.2f})" in BENCHMARKS
    assert f"syncs {log['1']:,.0f} events per second one by one, and {log['1000']:,.0f} in batches" in BENCHMARKS


def test_scenarios_that_break_a_limit() -> None:
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/result.json"))]
    broken = [one for one in found if not one["held"]]
    assert (len(found), [one["scenario"] for one in broken]) == (9, ["cold_storm"])
    assert "Eight of nine" in BENCHMARKS
    assert "Eight of nine" in README
    (cold,) = _ratios(broken[0])
    assert f"is {cold['value']:.2f} times that of the same" in BENCHMARKS
    assert f"{min(cold['rounds']):.2f} to {max(cold['rounds']):.2f}" in BENCHMARKS


def test_rivals() -> None:
    worst, *alone = _ratios(result("rivals/result.json"))
    rounds = f"{min(worst['rounds']):.2f} to {max(worst['rounds']):.1f}"
    assert f"is {worst['value']:.1f} times (three rounds, {rounds}) that next to an ordinary tenant" in BENCHMARKS
    loads, sampling, prompts = (limit["value"] for limit in alone)
    assert f"it is {loads:.2f}, {sampling:.2f} and {prompts:.2f} times" in BENCHMARKS


def _ratios(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    return [limit for limit in scenario["limits"] if " / " in limit["limit"]]


def _median(samples: list[float], unit: float = 1.0) -> float:
    return unit * statistics.median(samples)


def _p99(samples: list[float], unit: float) -> float:
    """As the benchmark prints it."""
    return unit * sorted(samples)[len(samples) * 99 // 100]
