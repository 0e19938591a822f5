"""Tokens per second over HTTP with streaming, by concurrency and number of adapters, of Quickchange or other servers.

Work: distinct prompts of 64 tokens, 64 output tokens, greedy, closed loop, the client on the same cores; adapters of
rank 16 on all seven projections. In addition: the time to the first token of a single prompt of 512. Each round
measures all columns, so that drift of the machine affects them equally. docs/benchmarks.md: starting other servers.

    python -m loadtest.bench_http --out loadtest/results/http.json
    python -m loadtest.bench_http --server llama.cpp --url http://127.0.0.1:8080/v1 --model base --lora-ids 32
    python -m loadtest.bench_http --server vLLM --url http://127.0.0.1:8000/v1 --model base --models a0,a1,…
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.adapters import write_random_lora
from loadtest.client import Extra
from loadtest.errors import LoadtestError, WrongUsage
from loadtest.machine import provenance
from loadtest.scenario import Work
from loadtest.sender import closed_loop

RANK = 16
WORK = Work(prompt_tokens=64, max_tokens=64)
LONG = Work(prompt_tokens=512, max_tokens=1)
TURNS = 2
"""Requests of each worker in a column; a single worker sends twice as many."""
FIRST_TOKENS = 4


@dataclass(slots=True)
class Column:
    """One mix of adapters at one concurrency, and its results: one figure per round."""

    adapters: int
    concurrency: int
    tokens_per_s: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        mix = "base" if self.adapters == 0 else f"{self.adapters} adapter{'s' * (self.adapters > 1)}"
        return f"{mix} c{self.concurrency}"


@dataclass(frozen=True, slots=True)
class Server:
    """The server that is measured."""

    url: str
    base: str
    adapters: tuple[str, ...]
    extra: Extra = field(default_factory=dict)


def columns() -> list[Column]:
    return [Column(*it) for it in ((0, 1), (0, 8), (0, 32), (1, 8), (1, 32), (8, 8), (8, 32), (32, 32))]


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", default="Quickchange", help="its name in the result")
    parser.add_argument("--url", help="a running server, with /v1 at the end; default: Quickchange is started")
    parser.add_argument("--model", help="the base's name at --url")
    parser.add_argument("--models", default="", help="adapters of rank 16 that exist at --url, separated by commas")
    parser.add_argument("--lora-ids", type=int, default=0, help="llama.cpp: so many adapters, named by number")
    parser.add_argument("--columns", help="only those whose names are given, separated by commas")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    try:
        wanted = _wanted(args.columns)
        with _server(args) as server:
            wanted = [column for column in wanted if column.adapters <= len(server.adapters)]
            first = asyncio.run(measure(server, wanted, args.rounds))
    except LoadtestError as error:
        sys.exit(f"bench_http: {error}")
    document = provenance() | {
        "server": args.server,
        "url": args.url or "started for this run",
        "work": asdict(WORK) | {"rank": RANK},
        "tokens_per_s": {column.name: column.tokens_per_s for column in wanted},
        "first_token_of_512_s": first,
    }
    _print_table(args.server, wanted, first)
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n")
    else:
        print(json.dumps(document))


async def measure(server: Server, wanted: Sequence[Column], rounds: int) -> list[float]:
    """Fills the columns; returns the seconds to the first token of each long prompt."""
    await _column(server, Column(len(server.adapters), 8), max(8, len(server.adapters)))  # loads the adapters
    first: list[float] = []
    for turn in range(rounds):
        for column in wanted:
            requests = TURNS * column.concurrency * (1 + (column.concurrency == 1))
            column.tokens_per_s.append(await _column(server, column, requests))
        run = await closed_loop(
            server.url, [server.base], LONG, concurrency=1, requests=FIRST_TOKENS, extra=server.extra
        )
        first += [sample.ttft_s for sample in run.samples if sample.ttft_s is not None]
        speeds = ", ".join(f"{column.name} {column.tokens_per_s[-1]:.0f}" for column in wanted)
        print(f"round {turn + 1} of {rounds}: {speeds}; first token {1e3 * first[-1]:.0f} ms", file=sys.stderr)
    return first


async def _column(server: Server, column: Column, requests: int) -> float:
    models = server.adapters[: column.adapters] or (server.base,)
    run = await closed_loop(
        server.url, models, WORK, concurrency=column.concurrency, requests=requests, extra=server.extra
    )
    return run.tokens_per_s


def _wanted(names: str | None) -> list[Column]:
    every = columns()
    if names is None:
        return every
    chosen = [name.strip() for name in names.split(",")]
    unknown = set(chosen) - {column.name for column in every}
    if unknown:
        raise WrongUsage(f"no column {unknown.pop()!r}: there are {', '.join(column.name for column in every)}")
    return [column for column in every if column.name in chosen]


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[Server]:
    if args.url is not None:
        if args.model is None:
            raise WrongUsage("--url needs --model, the base's name there")
        ids = range(args.lora_ids)
        adapters = tuple(name for name in args.models.split(",") if name) or tuple(f"lora-{id}" for id in ids)
        # llama.cpp takes adapters by number. Those that a request omits keep their scales, 1 at the start.
        extra: Extra = {f"lora-{id}": {"lora": [{"id": n, "scale": float(n == id)} for n in ids]} for id in ids}
        if ids:
            extra |= {args.model: {"lora": [{"id": n, "scale": 0.0} for n in ids]}}
        yield Server(args.url, args.model, adapters, extra)
        return
    with quickchange_server(max(column.adapters for column in _wanted(args.columns))) as ours:
        yield ours


@contextmanager
def quickchange_server(adapters: int) -> Iterator[Server]:
    """A service started for the measurement, with ``adapters`` random adapters of rank 16."""
    from loadtest.server import running_service
    from service.base import prepare_base
    from service.settings import Settings

    checkpoint = prepare_base(Settings(), lambda line: print(line, file=sys.stderr)).path
    with tempfile.TemporaryDirectory() as scratch, running_service(Path(scratch) / "data") as service:
        names = tuple(f"bench/a{seed}" for seed in range(adapters))
        for seed, name in enumerate(names):
            service.push(write_random_lora(checkpoint, Path(scratch) / name, RANK, seed), name)
        yield Server(f"{service.url}/v1", service.base, names)


def _print_table(server: str, wanted: Sequence[Column], first: Sequence[float]) -> None:
    table = Table("", *(column.name for column in wanted), "first token of 512", title="tokens/s, medians")
    speeds = [f"{statistics.median(column.tokens_per_s):.0f}" for column in wanted]
    table.add_row(server, *speeds, f"{1e3 * statistics.median(first):.0f} ms")
    Console(file=sys.stderr, width=140).print(table)


if __name__ == "__main__":
    main()
