"""One engine for ``compare_engine``: bursts of decode steps on request. Runs with any checkout's code.

Started by path, with the other checkout on PYTHONPATH; all imports come from that checkout. Each line of stdin is a
JSON object with a mix, each line of stdout is its result.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loadtest.bench_engine import Bench, bundled_model
from service.engine.kernels.native import Library
from service.settings import MIB, EngineOptions

KV_MIB = 512


class _Counting(TorchDispatchMode):
    """Counts operations that compute; views do not count."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the torch operations and native steps inside the block."""
    original, counting = Library.step, _Counting()

    def step(*args: Any) -> None:
        counting.calls["native step"] += 1
        original(*args)

    with counting, patch.object(Library, "step", step):
        yield counting.calls


def answer(bench: Bench, ask: dict[str, int]) -> dict[str, object]:
    """The median time of the mix's decode steps in seconds, or the calls of one step."""
    batch, adapters, steps = ask["batch"], ask["adapters"], ask["steps"]
    if not ask.get("count"):
        return {"seconds": statistics.median(bench.decode(batch, adapters, steps))}
    bench._ready(batch, steps, adapters)
    with counted() as calls:
        bench.engine.step()
    bench._clear()
    return {"calls": dict(calls)}


def main() -> None:
    backend, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    options = EngineOptions(
        backend=backend,
        threads=threads,
        running=160,
        prefix_cache=False,
        kv_cache_bytes=KV_MIB * MIB,
    )
    bench = Bench(lambda: bundled_model("cpu"), options)
    print(json.dumps({"backend": bench.engine.snapshot().backend}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(bench, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
