"""What feedback costs and how fast it is: tokens per second with it on and off, and events per second.

Both services run all the time and are measured in turn, so that both idle equally; the ratio is computed per pair.
Events are measured at the log (in this process, one fsync per batch) and over HTTP, in batches of several sizes.

    python -m loadtest.bench_feedback --out loadtest/results/feedback.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from loadtest.machine import provenance
from loadtest.scenario import Work
from loadtest.sender import closed_loop
from loadtest.server import RunningService, running_service
from service.feedback.events import Author, FeedbackEvent, Given, ResponseRecord, Turn, event_of
from service.feedback.log import FeedbackLog
from service.feedback.wire import parse_inputs
from service.settings import FeedbackOptions
from service.values import FinishReason, SamplingParams

CONCURRENCY, REQUESTS = 16, 32
WORK = Work(prompt_tokens=64, max_tokens=64, vocabulary=49152)
BATCHES = (1, 10, 100, 1000)
SENDERS = 4
"""Clients that send batches concurrently over HTTP."""
SECONDS = 3.0
"""Duration of each measurement of a rate."""


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        at_log = {size: log_rate(Path(scratch) / f"log-{size}", size) for size in BATCHES}
        off, on, over_http = asyncio.run(services(Path(scratch), args.pairs))
    ratios = [with_it / without for with_it, without in zip(on, off, strict=True)]
    document = provenance() | {
        "work": asdict(WORK) | {"concurrency": CONCURRENCY, "requests": REQUESTS},
        "tokens_per_s": {"off": off, "on": on, "ratios": ratios},
        "events_per_s": {"log": at_log, "http": over_http, "http_senders": SENDERS},
    }
    _print(off, on, ratios, at_log, over_http)
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n")
    else:
        print(json.dumps(document))


def log_rate(directory: Path, size: int) -> float:
    """Acknowledged events per second, one batch at a time."""
    record = _record()
    log = FeedbackLog(directory, FeedbackOptions())
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        log.submit([_event(record) for _ in range(size)], {record.id: record}).result()
        count += size
    rate = count / (time.perf_counter() - began)
    log.close()
    _say(f"log, batches of {size}: {rate:.0f} events/s")
    return rate


async def services(scratch: Path, pairs: int) -> tuple[list[float], list[float], dict[int, float]]:
    """Tokens per second without and with feedback, and events per second over HTTP."""
    off: list[float] = []
    on: list[float] = []
    with (
        running_service(scratch / "off") as without,
        running_service(scratch / "on", "--feedback.enabled") as with_it,
    ):
        for turn in range(pairs + 1):
            order = [(without, off), (with_it, on)]
            for service, speeds in order if turn % 2 else reversed(order):
                run = await closed_loop(
                    f"{service.url}/v1", [service.base], WORK, concurrency=CONCURRENCY, requests=REQUESTS
                )
                if turn:  # turn 0 is the warm-up
                    speeds.append(run.tokens_per_s)
            if turn:
                _say(f"pair {turn}: off {off[-1]:.0f}, on {on[-1]:.0f} tokens/s")
        over_http = {size: await http_rate(with_it, size) for size in BATCHES}
    return off, on, over_http


async def http_rate(service: RunningService, size: int) -> float:
    """Acknowledged events per second from ``SENDERS`` clients; ``RuntimeError`` on any answer but 202."""
    async with httpx.AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
        body = {"model": service.base, "prompt": "Feedback on this.", "max_tokens": 1}
        answer = (await client.post("/v1/completions", json=body)).json()
        event = {"kind": "binary", "target": {"response_id": answer["id"]}, "value": True, "source": "bench"}
        count = 0
        began = time.perf_counter()

        async def send() -> None:
            nonlocal count
            while time.perf_counter() - began < SECONDS:
                response = await client.post("/v1/feedback", json={"events": [event] * size})
                if response.status_code != 202:
                    raise RuntimeError(f"{response.status_code}: {response.text[:500]}")
                count += size

        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(send())
        rate = count / (time.perf_counter() - began)
    _say(f"HTTP, batches of {size}: {rate:.0f} events/s")
    return rate


def _record() -> ResponseRecord:
    question = Turn(role="user", content="A question of about sixty tokens. " * 8)
    return ResponseRecord(
        id="chatcmpl-bench",
        tenant="default",
        model="base",
        adapters=(),
        base_digest="sha256:" + "b" * 64,
        prompts=((question,),),
        choices=(Given(text="An answer of about sixty tokens. " * 8, finish=FinishReason.STOP),),
        sampling=SamplingParams(max_tokens=64),
        created_at=datetime.now(UTC),
    )


def _event(record: ResponseRecord) -> FeedbackEvent:
    fields: dict[str, object] = {"kind": "binary", "target": {"response_id": record.id}, "value": True}
    return event_of(parse_inputs(fields, 1)[0], Author("default", "bench"), [record], record.created_at)


def _print(
    off: list[float], on: list[float], ratios: list[float], at_log: dict[int, float], over_http: dict[int, float]
) -> None:
    console = Console(file=sys.stderr)
    speeds = Table("feedback off tokens/s", "on tokens/s", "ratio (median of pairs)", "min to max")
    medians = (f"{statistics.median(values):.0f}" for values in (off, on))
    speeds.add_row(*medians, f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}")
    console.print(speeds)
    rates = Table("events in a batch", "log events/s", "HTTP events/s")
    for size in BATCHES:
        rates.add_row(str(size), f"{at_log[size]:.0f}", f"{over_http[size]:.0f}")
    console.print(rates)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
