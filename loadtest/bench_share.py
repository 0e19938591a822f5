"""What HTTP and Ray cost: the same closed loop over HTTP and directly on an engine in this process, in pairs.

Work as in ``bench_http``: distinct prompts of 64 tokens, 64 output tokens, greedy; both times include the prefill.
Over HTTP the answers are streamed, and the client runs on the same cores.

    python -m loadtest.bench_share --out loadtest/results/share.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from loadtest.bench_engine import Bench, bundled_model
from loadtest.bench_http import RANK, TURNS, WORK, Server, quickchange_server
from loadtest.client import prompt
from loadtest.machine import provenance
from loadtest.sender import closed_loop
from service.engine.adapter import BoundAdapter
from service.settings import EngineOptions
from service.values import GenerateRequest, SamplingParams

MIXES = ((0, 1), (0, 32), (8, 32))
"""Adapters and concurrency."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One closed loop."""

    tokens_per_s: float
    first_s: float
    """Median over its requests, from sending to the first token."""
    token_s: float
    """Median over its requests: seconds per token after the first."""


@dataclass(slots=True)
class Pairs:
    """One mix, measured in turns."""

    adapters: int
    concurrency: int
    http: list[Speed] = field(default_factory=list)
    engine: list[Speed] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.adapters} adapters c{self.concurrency}"

    def shares(self) -> list[float]:
        """Throughput over HTTP as a share of the engine's, per pair."""
        return [http.tokens_per_s / alone.tokens_per_s for http, alone in zip(self.http, self.engine, strict=True)]

    def extra_ms(self) -> tuple[list[float], list[float]]:
        """Milliseconds that HTTP adds to each token and to the first token, per pair."""
        pairs = list(zip(self.http, self.engine, strict=True))
        return [1e3 * (h.token_s - e.token_s) for h, e in pairs], [1e3 * (h.first_s - e.first_s) for h, e in pairs]


class Alone:
    """A closed loop over an engine of this process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._asked = 0

    def run(self, adapters: int, concurrency: int, requests: int) -> Speed:
        chosen: Sequence[BoundAdapter | None] = self._bench.adapters[:adapters] or [None]
        began: dict[str, float] = {}
        first: dict[str, float] = {}
        rates: list[float] = []
        left, tokens = requests, 0
        start = time.perf_counter()
        while len(rates) < requests:
            while left and len(began) - len(rates) < concurrency:
                began[self._ask(chosen[left % len(chosen)])] = time.perf_counter()
                left -= 1
            events, now = self._bench.engine.step(), time.perf_counter()
            for event in events:
                tokens += len(event.tokens)
                first.setdefault(event.request_id, now)
                if event.finish is not None:
                    rates.append((now - first[event.request_id]) / (WORK.max_tokens - 1))
        seconds = time.perf_counter() - start
        waits = [first[name] - at for name, at in began.items()]
        return Speed(tokens / seconds, statistics.median(waits), statistics.median(rates))

    def _ask(self, adapter: BoundAdapter | None) -> str:
        self._asked += 1
        name = f"alone/{self._asked}"
        sampling = SamplingParams(max_tokens=WORK.max_tokens, temperature=0, ignore_eos=True)
        tokens = tuple(prompt(WORK, name))
        self._bench.engine.submit(GenerateRequest(name, "t", tokens, sampling, deadline_s=600), adapter)
        return name


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    alone = Alone(Bench(partial(bundled_model, "cpu"), EngineOptions(threads=torch.get_num_threads())))
    mixes = [Pairs(*mix) for mix in MIXES]
    with quickchange_server(max(mix.adapters for mix in mixes)) as server:
        measure(alone, server, mixes, args.pairs)
    document = provenance() | {
        "work": asdict(WORK) | {"rank": RANK},
        "mixes": {
            mix.name: {
                "share_of_the_engine": mix.shares(),
                "extra_ms_a_token": mix.extra_ms()[0],
                "extra_ms_on_the_first": mix.extra_ms()[1],
                "http": [asdict(speed) for speed in mix.http],
                "engine": [asdict(speed) for speed in mix.engine],
            }
            for mix in mixes
        },
    }
    _print_table(mixes)
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n")
    else:
        print(json.dumps(document))


def measure(alone: Alone, server: Server, mixes: list[Pairs], pairs: int) -> None:
    """Fills ``mixes``; the order within a pair alternates."""
    for mix in mixes:  # warm-up: adapters are loaded, buffers grow
        asyncio.run(_over_http(server, mix, 2 * mix.concurrency))
        alone.run(mix.adapters, mix.concurrency, mix.concurrency)
    for pair in range(pairs):
        for mix in mixes:
            requests = TURNS * mix.concurrency * (1 + (mix.concurrency == 1))
            for over_http in (True, False) if pair % 2 else (False, True):
                if over_http:
                    mix.http.append(asyncio.run(_over_http(server, mix, requests)))
                else:
                    mix.engine.append(alone.run(mix.adapters, mix.concurrency, requests))
        _say(f"pair {pair + 1} of {pairs}: " + ", ".join(f"{mix.name} {mix.shares()[-1]:.2f}" for mix in mixes))


async def _over_http(server: Server, mix: Pairs, requests: int) -> Speed:
    models = server.adapters[: mix.adapters] or (server.base,)
    run = await closed_loop(server.url, models, WORK, concurrency=mix.concurrency, requests=requests)
    waits = [sample.ttft_s for sample in run.samples if sample.ttft_s is not None]
    rates = [
        (sample.last_s - sample.first_s) / (WORK.max_tokens - 1)
        for sample in run.samples
        if sample.first_s is not None
    ]
    return Speed(run.tokens_per_s, statistics.median(waits), statistics.median(rates))


def _print_table(mixes: list[Pairs]) -> None:
    table = Table(
        "", "share of the engine", "added ms per token", "added to the first", title="HTTP, medians (range)"
    )
    for mix in mixes:
        token, first = mix.extra_ms()
        table.add_row(mix.name, _spread(mix.shares(), 2), _spread(token, 2), _spread(first, 1))
    Console(file=sys.stderr, width=118).print(table)


def _spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
