"""Whether response times leak what refusals hide: unknown and foreign adapters, unknown and wrong keys.

A service with two tenants and an adapter. One client sends requests that are refused, over one connection, one at a
time. All requests of a group have the same length, and each round shuffles their order, so that drift of the machine
affects all of them equally. Each group contains its first request a second time, as its twin: the difference between
these two is the measurement's resolution.

    python -m loadtest.bench_tenancy --out loadtest/results/tenancy.json
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from adapters_registry.access import KeyText, Scope, new_key
from adapters_registry.client import RegistryClient
from loadtest.adapters import write_random_lora
from loadtest.errors import ServiceNotReached
from loadtest.machine import provenance
from loadtest.report import compact_json
from loadtest.server import RunningService, running_service
from service.base import prepare_base
from service.settings import Settings

PATH = "/v1/completions"
TRIES = 1000
"""Bootstrap resamples per interval."""
Z95 = 1.96


@dataclass(slots=True)
class Refusal:
    """One kind of refused request, and the time of each of its answers."""

    group: str
    name: str
    key: str
    model: str
    status: int
    us: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two refusals of one group. ``auc``: how often an answer of the second takes longer than one of the first."""

    first: str
    second: str
    median_us: tuple[float, float]
    ratio: float
    """Ratio of the medians, second over first."""
    ratio_95: tuple[float, float]
    auc: float
    """Mann-Whitney's U over the number of pairs; 0.5 means no difference."""
    auc_95: tuple[float, float]
    ks: float
    """Kolmogorov-Smirnov: the greatest distance between the two cumulative distributions."""
    ks_p: float
    """Probability of a distance at least as great between samples of one distribution (asymptotic)."""


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4000, help="requests of each way")
    parser.add_argument("--warm", type=int, default=300, help="rounds before, not kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the JSON file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_service(Path(scratch) / "data") as service:
        ways = prepare(service, Path(scratch))
        with connection(service.url) as to:
            measure(to, ways, args.warm, args.seed)
            for way in ways:
                way.us.clear()
            measure(to, ways, args.rounds, args.seed + 1)
    found = comparisons(ways)
    show(found)
    if args.out:
        document = {
            **provenance(),
            "comparisons": {f"{one.first} / {one.second}": _as_json(one) for one in found},
            "samples_us": {way.name: way.us for way in ways},
        }
        args.out.write_text(compact_json(document) + "\n")


def prepare(service: RunningService, scratch: Path) -> list[Refusal]:
    """Creates keys and an adapter of acme; returns the refused requests of globex and of unknown keys."""
    checkpoint = prepare_base(Settings(), lambda _: None).path
    folder = write_random_lora(checkpoint, scratch / "adapter", rank=8, seed=1)
    with RegistryClient(service.registry) as nobody:
        operator_key = nobody.create_key("operator", [Scope.ADMIN]).key
    with RegistryClient(service.registry, key=operator_key) as operator:
        operator.push(folder, "acme", "own1")
        globex = operator.create_key("globex", [Scope.INFER], tenant="globex")
        ended = operator.create_key("ended", [Scope.INFER], tenant="globex")
        operator.revoke_key(ended.record.id)
    wrong = KeyText(globex.record.id, new_key().secret)
    _wait_known(service, globex.key, operator_key)
    good, unknown = globex.key, str(new_key())
    return [
        Refusal("adapter", "unknown adapter", good, "acme/none", 404),
        Refusal("adapter", "unknown adapter, twin", good, "acme/none", 404),
        Refusal("adapter", "foreign adapter", good, "acme/own1", 404),
        Refusal("key", "unknown key", unknown, "acme/own1", 401),
        Refusal("key", "unknown key, twin", unknown, "acme/own1", 401),
        Refusal("key", "wrong secret", str(wrong), "acme/own1", 401),
        Refusal("key", "revoked key", ended.key, "acme/own1", 401),
        Refusal("key", "not a key", "x" * len(good), "acme/own1", 401),
    ]


def _wait_known(service: RunningService, key: str, operator_key: str) -> None:
    """Until the gateway knows the keys and the adapter."""
    deadline = time.monotonic() + 30
    with connection(service.url) as to:
        while (
            _ask(to, "GET", "/v1/models", key) != 200 or _ask(to, "GET", "/v1/models/acme/own1", operator_key) != 200
        ):
            if time.monotonic() > deadline:
                raise ServiceNotReached("the gateway did not learn of the keys and the adapter")
            time.sleep(0.1)


@contextmanager
def connection(url: str) -> Iterator[http.client.HTTPConnection]:
    """A connection of the standard library, whose own overhead is small."""
    to = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        yield to
    finally:
        to.close()


def measure(to: http.client.HTTPConnection, ways: Sequence[Refusal], rounds: int, seed: int) -> None:
    """``rounds`` requests of each refusal, in a new random order in each round."""
    draw = random.Random(seed)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        for way in draw.sample(ways, len(ways)):
            body = json.dumps({"model": way.model, "prompt": "Hello", "max_tokens": 1})
            began = time.perf_counter_ns()
            status = _ask(to, "POST", PATH, way.key, body)
            way.us.append(round((time.perf_counter_ns() - began) / 1000, 1))
            if status != way.status:
                raise ServiceNotReached(f"{way.name}: {status} where {way.status} was expected")


def _ask(to: http.client.HTTPConnection, method: str, path: str, key: str, body: str | None = None) -> int:
    to.request(method, path, body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = to.getresponse()
    answer.read()
    return answer.status


def comparisons(ways: Sequence[Refusal]) -> list[Comparison]:
    """Compares each group's first refusal with each other one of the group."""
    firsts = {way.group: way for way in reversed(ways)}
    return [
        compare(first.name, np.array(first.us), way.name, np.array(way.us))
        for way in ways
        if (first := firsts[way.group]) is not way
    ]


Samples = np.ndarray[tuple[int], np.dtype[np.float64]]


def compare(first: str, a: Samples, second: str, b: Samples) -> Comparison:
    """Compares two sets of samples."""
    auc = area(a, b)
    half = Z95 * float(np.sqrt((len(a) + len(b) + 1) / (12 * len(a) * len(b))))
    distance = ks_distance(a, b)
    medians = float(np.median(a)), float(np.median(b))
    return Comparison(
        first,
        second,
        medians,
        medians[1] / medians[0],
        ratio_interval(a, b),
        auc,
        (auc - half, auc + half),
        distance,
        ks_probability(distance, len(a), len(b)),
    )


def area(a: Samples, b: Samples) -> float:
    """Share of all pairs whose greater value is in ``b``; an equal pair counts one half."""
    ordered = np.sort(a)
    below = np.searchsorted(ordered, b, "left") + np.searchsorted(ordered, b, "right")
    return float(below.sum() / (2 * len(a) * len(b)))


def ratio_interval(a: Samples, b: Samples) -> tuple[float, float]:
    """A 95 % bootstrap interval of the ratio of the medians."""
    draw = np.random.default_rng(1)
    ratios = [float(np.median(draw.choice(b, len(b))) / np.median(draw.choice(a, len(a)))) for _ in range(TRIES)]
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def ks_distance(a: Samples, b: Samples) -> float:
    """The greatest distance between the two cumulative distributions."""
    at = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(one), at, "right") / len(one) for one in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_probability(distance: float, n: int, m: int) -> float:
    """Kolmogorov's limit: 2 Σ (-1)^(k-1) exp(-2 k² λ²), λ = D √(nm/(n+m))."""
    scaled = distance * math.sqrt(n * m / (n + m))
    if scaled < 0.2:  # the series does not converge there, and the limit is 1 within 1e-12
        return 1.0
    terms = [(1 if k % 2 else -1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101)]
    return min(1.0, max(0.0, 2 * sum(terms)))


def show(found: Sequence[Comparison]) -> None:
    """A table for people."""
    table = Table("first", "second", "medians (µs)", "ratio [95 %]", "P(second slower) [95 %]", "KS", "p", box=None)
    for one in found:
        table.add_row(
            one.first,
            one.second,
            f"{one.median_us[0]:.0f} {one.median_us[1]:.0f}",
            f"{one.ratio:.3f} [{one.ratio_95[0]:.3f} {one.ratio_95[1]:.3f}]",
            f"{one.auc:.3f} [{one.auc_95[0]:.3f} {one.auc_95[1]:.3f}]",
            f"{one.ks:.3f}",
            f"{one.ks_p:.2g}",
        )
    Console(file=sys.stderr, width=140).print(table)


def _as_json(one: Comparison) -> dict[str, object]:
    return {
        "median_us": one.median_us,
        "ratio": one.ratio,
        "ratio_95": one.ratio_95,
        "auc": one.auc,
        "auc_95": one.auc_95,
        "ks": one.ks,
        "ks_p": one.ks_p,
    }


if __name__ == "__main__":
    main()
