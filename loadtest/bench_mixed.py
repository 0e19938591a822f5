"""Tokens per second of eight mixed adapters beside the base alone: the engine by itself, and over HTTP.

Work: prompts of 64 tokens, 64 output tokens, greedy, closed loop at concurrency 16; adapters of rank 16 on all
seven projections. The two are measured in turn, and the ratio is taken pair by pair.

    python -m loadtest.bench_mixed --out loadtest/results/mixed.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from loadtest.adapters import projection_shapes, random_factors, write_random_lora
from loadtest.machine import provenance
from loadtest.scenario import Work
from loadtest.sender import closed_loop
from loadtest.server import running_service
from service.base import load_model, prepare_base
from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.load import load_engine
from service.settings import Settings
from service.values import GenerateRequest, SamplingParams

ADAPTERS, RANK, CONCURRENCY = 8, 16, 16
WORK = Work(prompt_tokens=64, max_tokens=64, vocabulary=49152)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Tokens per second of runs made in turn."""

    base: list[float]
    mixed: list[float]

    @property
    def ratios(self) -> list[float]:
        return [mixed / base for base, mixed in zip(self.base, self.mixed, strict=True)]


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    settings = Settings()
    checkpoint = prepare_base(settings, lambda line: print(line, file=sys.stderr)).path
    results = {
        "engine alone": engine_alone(checkpoint, settings, asked.pairs),
        "over HTTP": asyncio.run(over_http(checkpoint, asked.pairs)),
    }
    document = provenance() | {
        "work": asdict(WORK) | {"concurrency": CONCURRENCY, "adapters": ADAPTERS, "rank": RANK},
        "tokens_per_s": {name: asdict(pairs) | {"ratios": pairs.ratios} for name, pairs in results.items()},
    }
    _print_table(results)
    if asked.out:
        asked.out.write_text(json.dumps(document, indent=2) + "\n")
    else:
        print(json.dumps(document))


def engine_alone(checkpoint: Path, settings: Settings, pairs: int) -> Pairs:
    """The engine in this process, no HTTP and no Ray."""
    engine = load_engine(load_model(checkpoint, settings.dtype, settings.device), settings.engine, name="base")
    adapters = [_bound(engine, checkpoint, seed) for seed in range(ADAPTERS)]
    _run_engine(engine, [None], "warm")
    _run_engine(engine, adapters, "warm")
    base, mixed = [], []
    for turn in range(pairs):
        base.append(_run_engine(engine, [None], f"base{turn}"))
        mixed.append(_run_engine(engine, adapters, f"mixed{turn}"))
        _progress("engine alone", turn, base, mixed)
    return Pairs(base, mixed)


async def over_http(checkpoint: Path, pairs: int) -> Pairs:
    """A whole service in processes of its own; the client runs on the same cores."""
    with tempfile.TemporaryDirectory() as scratch, running_service(Path(scratch) / "data") as service:
        names = [f"bench/a{seed}" for seed in range(ADAPTERS)]
        for seed, name in enumerate(names):
            service.push(write_random_lora(checkpoint, Path(scratch) / name, RANK, seed), name)
        url = f"{service.url}/v1"
        base: list[float] = []
        mixed: list[float] = []
        for turn in range(pairs + 1):
            for models, speeds in (([service.base], base), (names, mixed)):
                run = await closed_loop(url, models, WORK, concurrency=CONCURRENCY, requests=CONCURRENCY)
                if turn:  # the first turn loads the adapters
                    speeds.append(run.tokens_per_s)
            if turn:
                _progress("over HTTP", turn - 1, base, mixed)
        return Pairs(base, mixed)


def _bound(engine: Engine, checkpoint: Path, seed: int) -> BoundAdapter:
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for module, shape in projection_shapes(checkpoint).items():
        a, b = random_factors(shape, RANK, draw)
        tensors[f"{module}/a_t"], tensors[f"{module}/b_t"] = a.t().contiguous(), b.t().contiguous()
    return engine.bind(f"sha256:{seed:064x}", "lora", tensors)


def _run_engine(engine: Engine, adapters: list[BoundAdapter] | list[None], tag: str) -> float:
    """Tokens per second of one round at full concurrency."""
    sampling = SamplingParams(max_tokens=WORK.max_tokens, temperature=0, ignore_eos=True)
    tokens, waiting, running = 0, list(range(CONCURRENCY)), 0
    began = time.perf_counter()
    while waiting or running:
        while waiting and running < CONCURRENCY:
            number = waiting.pop()
            offset = hash((tag, number)) % 40_000
            prompt = tuple(3 + offset + at for at in range(WORK.prompt_tokens))
            request = GenerateRequest(f"{tag}-{number}", "t", None, prompt, sampling, deadline_s=600)
            engine.submit(request, adapters[number % len(adapters)])
            running += 1
        for event in engine.step():
            tokens += len(event.tokens)
            running -= event.finish is not None
    return tokens / (time.perf_counter() - began)


def _progress(what: str, turn: int, base: list[float], mixed: list[float]) -> None:
    line = f"{what}, pair {turn + 1}: base {base[-1]:.0f}, mixed {mixed[-1]:.0f} tokens/s"
    print(line, file=sys.stderr, flush=True)


def _print_table(results: dict[str, Pairs]) -> None:
    table = Table("", "base tokens/s", f"{ADAPTERS} adapters tokens/s", "ratio (median of pairs)", "min to max")
    for name, pairs in results.items():
        table.add_row(
            name,
            f"{statistics.median(pairs.base):.0f}",
            f"{statistics.median(pairs.mixed):.0f}",
            f"{statistics.median(pairs.ratios):.2f}",
            f"{min(pairs.ratios):.2f} to {max(pairs.ratios):.2f}",
        )
    Console(file=sys.stderr).print(table)


if __name__ == "__main__":
    main()
