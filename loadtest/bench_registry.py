"""A registry with many adapters: time to resolve and list, a gateway's memory, and how soon it sees a moved alias.

The adapters are inserted by the registry's queries, in transactions of a thousand adapters. No artifact is checked
and no blob exists, because nothing measured here reads them. The number of modules of a manifest is an option; the
default is that of PEFT's LoRA on q_proj and v_proj of 30 layers. The registry runs as a separate process over HTTP,
without keys. The gateway's catalog is the service's class in another process.

    python -m loadtest.bench_registry --out loadtest/results/registry.json
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from adapters_registry.access import ANONYMOUS
from adapters_registry.client import AsyncRegistryClient
from adapters_registry.database import open_sqlite
from adapters_registry.findings import Inspection, ModuleNorms, summary
from adapters_registry.history import MoveKind
from adapters_registry.manifest import BaseManifest, BaseModule, File, LoraManifest, LoraModule
from adapters_registry.metadata import Metadata
from adapters_registry.names import PRODUCTION
from adapters_registry.rows import Change, Rows
from loadtest.errors import LoadtestError, ServiceNotReached
from loadtest.machine import provenance
from loadtest.report import compact_json
from loadtest.server import free_port
from service.access.catalog import Catalog
from service.access.names import parse_model

BASE = BaseManifest(
    digest="sha256:" + "b" * 64,
    name="bench-base",
    architecture="LlamaForCausalLM",
    dtype="bfloat16",
    vocab_size=49_152,
    layers=30,
    modules={"model.layers.0.mlp.up_proj": BaseModule(type="linear", in_features=576, out_features=1536, bias=False)},
)
PER_TENANT = 100
PER_TRANSACTION = 1000
PAGE = 500
"""Adapters on a page; the registry's maximum."""
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """Size of the registry, and number of requests of each sort."""

    adapters: int
    versions: int
    """Versions of each adapter; the last one is live."""
    modules: int
    resolves: int
    lookups: int
    snapshots: int
    moves: int


@dataclass(frozen=True, slots=True)
class Held:
    """Reported by the gateway's process."""

    resident_bytes: int
    """Growth since before the snapshot: live objects, and memory that the allocator did not return."""
    taken_s: float
    """Time to fetch, check and index the whole snapshot."""
    lookup_s: list[float]
    """From a request's model string to the version: parsing and a dictionary. The registry's client is closed."""
    moved_s: list[float]
    """From sending an alias move to the first look-up that returns the new version."""


def main() -> None:
    """Fill, measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=5)
    parser.add_argument("--modules", type=int, default=60)
    parser.add_argument("--resolves", type=int, default=5000)
    parser.add_argument("--lookups", type=int, default=100_000)
    parser.add_argument("--snapshots", type=int, default=10)
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--out", type=Path)
    args = vars(parser.parse_args())
    out = args.pop("out")
    document = measure(Work(**args))
    _print(document)
    if out:
        out.write_text(compact_json(document) + "\n")
    else:
        print(json.dumps(document))


def measure(work: Work) -> dict[str, Any]:
    """The result file's content."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "registry"
        began = time.perf_counter()
        fill(data, work)
        database_bytes = (data / "registry.db").stat().st_size
        _say(f"filled in {time.perf_counter() - began:.0f} s, {database_bytes / 1e6:.0f} MB of rows")
        with registry(data) as (url, resident_bytes):
            resolve_s = resolves(url, work)
            page_s, listed = pages(url)
            if listed != work.adapters:
                raise LoadtestError(f"the list has {listed} adapters of {work.adapters}")
            snapshot_s, snapshot_bytes = snapshots(url, work)
            held, live_bytes = gateway(url, Path(scratch), work)
            registry_bytes = resident_bytes()
    return provenance() | {
        "sqlite": sqlite3.sqlite_version,
        "sqlalchemy": version("sqlalchemy"),
        "work": asdict(work),
        "database_bytes": database_bytes,
        "registry_resident_bytes": registry_bytes,
        "snapshot_bytes": snapshot_bytes,
        "gateway_resident_bytes": held.resident_bytes,
        "gateway_live_bytes": live_bytes,
        "samples_s": {
            "registry resolve over HTTP": resolve_s,
            f"list page of {PAGE} over HTTP": page_s,
            "snapshot over HTTP": snapshot_s,
            "gateway takes the snapshot": [held.taken_s],
            "gateway look-up": held.lookup_s,
            "alias move until the gateway has it": held.moved_s,
        },
    }


def fill(data: Path, work: Work) -> None:
    """Fills a data directory with the rows of ``work`` by the registry's queries."""
    data.mkdir(parents=True)
    metadata = Metadata(open_sqlite(data / "registry.db"))
    try:
        with metadata.writing() as rows:
            rows.bases.put(BASE, rows.record(Change("base.put", BASE.digest)))
        template = _inspection(work.modules)
        for start in range(0, work.adapters, PER_TRANSACTION):
            with metadata.writing() as rows:
                for number in range(start, min(start + PER_TRANSACTION, work.adapters)):
                    _add(rows, number, work.versions, template)
            _say(f"{min(start + PER_TRANSACTION, work.adapters)} adapters")
    finally:
        metadata.close()


def _add(rows: Rows, number: int, versions: int, template: Inspection) -> None:
    tenant, name = _name(number).split("/")
    adapter_id = rows.adapters.add(rows.tenants.make(tenant), name)
    config, weights = template.manifest.files
    for turn in range(1, versions + 1):
        own = weights.model_copy(update={"digest": f"sha256:{number * versions + turn:064x}"})
        manifest = template.manifest.model_copy(update={"files": (config, own)})
        for file in manifest.files:
            rows.blobs.put(file.digest, file.size)
        added = rows.versions.add(adapter_id, template.model_copy(update={"manifest": manifest}), {})
        rows.record(Change("version.publish", f"{tenant}/{name}@{turn}", adapter_id, version_id=added.id))
    rows.aliases.add(adapter_id, PRODUCTION, added.id)
    rows.record(Change(MoveKind.SET, f"{tenant}/{name}", adapter_id, PRODUCTION, added.id))


def _inspection(modules: int) -> Inspection:
    """A LoRA of rank 16."""
    names = [f"model.layers.{i // 2}.self_attn.{'qv'[i % 2]}_proj" for i in range(modules)]
    weights = [
        LoraModule(
            module=name,
            rank=16,
            scale=2.0,
            tensors={role: f"base_model.model.{name}.lora_{role.upper()}.weight" for role in "ab"},
        )
        for name in names
    ]
    norms = [ModuleNorms(module=name, a=4.61883, b=0.213907, delta=0.0570361, max_abs=0.0720522) for name in names]
    files = (
        File(path="adapter_config.json", digest="sha256:" + "c" * 64, size=700),
        File(path="adapter_model.safetensors", digest="sha256:" + "0" * 64, size=3_700_000),
    )
    manifest = LoraManifest(base=BASE.digest, rank=16, dtype="bfloat16", files=files, modules=tuple(weights))
    return Inspection(manifest=manifest, norms=summary(norms, frozenset(names), modules))


def _name(number: int) -> str:
    return f"tenant-{number // PER_TENANT:04d}/adapter-{number:05d}"


@contextmanager
def registry(data: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """The registry's address, and a function that returns its resident memory in bytes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "adapters_registry", "--data-dir", str(data), "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"])
    try:
        deadline = time.monotonic() + START_S
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceNotReached("the registry did not start: see its log above")
            try:
                httpx.get(f"{url}/health", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url, lambda: psutil.Process(process.pid).memory_info().rss
    finally:
        process.terminate()
        process.wait(30)


def resolves(url: str, work: Work) -> list[float]:
    """Seconds of each request: random adapters over one connection, one request at a time."""
    drawn = random.Random(0)  # noqa: S311 - the same adapters at every run
    took = []
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for _ in range(work.resolves):
            path = f"/v1/adapters/{_name(drawn.randrange(work.adapters))}/aliases/{PRODUCTION}"
            began = time.perf_counter()
            answer = client.get(path)
            took.append(time.perf_counter() - began)
            if answer.json()["version"] != work.versions:
                raise LoadtestError(f"{path} answered {answer.status_code} {answer.text[:200]}")
    _say(f"{work.resolves} resolves")
    return took


def pages(url: str) -> tuple[list[float], int]:
    """Seconds of each page of the whole list, and the number of adapters in it."""
    took, listed, after = [], 0, None
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        while True:
            params = {"limit": PAGE} | ({"after": after} if after else {})
            began = time.perf_counter()
            answer = client.get("/v1/adapters", params=params).raise_for_status()
            took.append(time.perf_counter() - began)
            page = answer.json()
            listed, after = listed + len(page["adapters"]), page["next"]
            if after is None:
                return took, listed


def snapshots(url: str, work: Work) -> tuple[list[float], int]:
    """Seconds of each snapshot, and its size in bytes."""
    took = []
    for _ in range(work.snapshots):
        began = time.perf_counter()
        body = httpx.get(f"{url}/v1/snapshot", trust_env=False, timeout=600).raise_for_status().content
        took.append(time.perf_counter() - began)
    _say(f"{work.snapshots} snapshots")
    return took, len(body)


def gateway(url: str, scratch: Path, work: Work) -> tuple[Held, int]:
    """Measures a gateway's catalog in one process, and the bytes of its live objects in a second one."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        held = pool.submit(_hold, url, scratch / "catalog.json", work).result()
    with ProcessPoolExecutor(1, spawn) as pool:
        return held, pool.submit(_trace, url, scratch / "traced.json").result()


def _hold(url: str, path: Path, work: Work) -> Held:
    return asyncio.run(_follow(url, path, work))


async def _follow(url: str, path: Path, work: Work) -> Held:
    names = [_name(number) for number in range(work.adapters)]
    before_bytes, began = _resident_bytes(), time.perf_counter()
    async with AsyncRegistryClient(url, timeout_s=600) as client:
        catalog = Catalog(client, path, BASE.digest)
        following = asyncio.create_task(catalog.follow())
        await catalog.loaded()
        taken_s = time.perf_counter() - began
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            moved = names[:: max(1, len(names) // work.moves)][: work.moves]
            moved_s = [await _move(catalog, http, name) for name in moved]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    grown_bytes = _resident_bytes() - before_bytes
    drawn = random.Random(1).choices(names, k=work.lookups)  # noqa: S311 - the same adapters at every run
    return Held(grown_bytes, taken_s, [_look_up(catalog, name) for name in drawn], moved_s)


async def _move(catalog: Catalog, http: httpx.AsyncClient, name: str) -> float:
    """Moves ``production`` to version 1; returns the seconds until the catalog has it."""
    began = time.perf_counter()
    path = f"/v1/adapters/{name}/aliases/{PRODUCTION}"
    sent = asyncio.create_task(http.put(path, json={"version": 1}, headers={"if-match": '"1"'}))
    while _found(catalog, name) != 1:
        if sent.done():
            sent.result().raise_for_status()
        await asyncio.sleep(0.0005)
    took = time.perf_counter() - began
    (await sent).raise_for_status()
    return took


def _look_up(catalog: Catalog, name: str) -> float:
    began = time.perf_counter()
    _found(catalog, name)
    return time.perf_counter() - began


def _found(catalog: Catalog, name: str) -> int:
    model = parse_model(name, BASE.name)
    assert model is not None
    return catalog.find(model, ANONYMOUS).ref.version


def _trace(url: str, path: Path) -> int:
    async def take() -> int:
        async with AsyncRegistryClient(url, timeout_s=600) as client:
            catalog = Catalog(client, path, BASE.digest)
            gc.collect()
            tracemalloc.start()
            following = asyncio.create_task(catalog.follow())
            await catalog.loaded()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

    return asyncio.run(take())


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _print(document: dict[str, Any]) -> None:
    console = Console(file=sys.stderr)
    times = Table("", "samples", "p50 ms", "p99 ms", "most ms")
    for name, samples in document["samples_s"].items():
        ordered = sorted(samples)
        shown = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
        times.add_row(name, str(len(samples)), *(f"{value * 1e3:.4g}" for value in shown))
    console.print(times)
    sizes = Table("", "MB")
    for name in ("database", "registry_resident", "snapshot", "gateway_resident", "gateway_live"):
        sizes.add_row(name.replace("_", " "), f"{document[f'{name}_bytes'] / 1e6:.1f}")
    console.print(sizes)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
