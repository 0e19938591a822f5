"""The native matrix products of one decode step, compared with oneDNN's packed linears and with reading the weights.

SmolLM2-135M's shapes, all layers and the head, random weights, no other work of a step. The three run in turn in
short bursts, so that other load of the machine affects all of them equally; the ratio is computed per burst.

    python -m loadtest.bench_gemm --out gemm.json
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from loadtest.machine import provenance
from service.engine.kernels.build import default_cache, library
from service.engine.kernels.levels import best_level, supported_levels

HIDDEN, KV, MLP, VOCABULARY, LAYERS = 576, 192, 1536, 49152, 30
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512)
BF16 = 1

Shape = tuple[int, int]
"""(out, in)"""
LAYER: tuple[Shape, ...] = ((HIDDEN + 2 * KV, HIDDEN), (HIDDEN, HIDDEN), (2 * MLP, HIDDEN), (HIDDEN, MLP))
"""Fused q, k and v; o; fused gate and up; down."""
HEAD: Shape = (VOCABULARY, HIDDEN)
WEIGHTS = sum(n * k for n, k in LAYER * LAYERS) + VOCABULARY * HIDDEN


class _Packed(ctypes.Structure):
    """``qc::Packed``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("k", ctypes.c_int64),
        ("type", ctypes.c_int32),
        ("bias", ctypes.c_void_p),
    )


@dataclass(slots=True)
class Samples:
    """Seconds per step, one list per burst."""

    ours: list[list[float]] = field(default_factory=list)
    onednn: list[list[float]] = field(default_factory=list)
    read: list[list[float]] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """oneDNN's median time over the native one, per burst; above 1 the native kernel is faster."""
        pairs = zip(self.ours, self.onednn, strict=True)
        return [statistics.median(theirs) / statistics.median(mine) for mine, theirs in pairs]


class Native:
    """The native products, called as in a step: one call computes all of them with its own threads."""

    def __init__(self, probe: ctypes.CDLL, shapes: list[Shape], threads: int, head_argmax: bool) -> None:
        self._probe, self._threads, self._argmax = probe, threads, int(head_argmax)
        probe.gemm_probe_packed_bytes.restype = ctypes.c_int64
        sizes = [probe.gemm_probe_packed_bytes(*_wide(n, k), BF16) for n, k in shapes]
        self._memory = mmap.mmap(-1, sum(sizes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_HUGEPAGE)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        weights = []
        for (n, k), size in zip(shapes, sizes, strict=True):
            matrix = _random(n, k)
            probe.gemm_probe_pack(ctypes.c_void_p(matrix.data_ptr()), *_wide(n, k), BF16, *map(_at, (at,)), *_wide(0))
            weights.append(_Packed(at, n, k, BF16, None))
            at += size
        self._weights = (_Packed * len(weights))(*weights)
        self._out = torch.empty(max(ROWS) * VOCABULARY)

    def run(self, x: Tensor, rows: int, rounds: int) -> list[float]:
        took = (ctypes.c_double * rounds)()
        self._probe.gemm_probe_chain(
            self._weights, *_wide(len(self._weights), self._argmax), _at(x.data_ptr()), _at(self._out.data_ptr()),
            *_wide(rows), self._threads, *_wide(rounds), took,
        )  # fmt: skip
        return list(took)

    def read(self, rounds: int) -> list[float]:
        took = (ctypes.c_double * rounds)()
        self._probe.gemm_probe_read(self._weights, *_wide(len(self._weights)), self._threads, *_wide(rounds), took)
        return list(took)


class OneDnn:
    """``torch.ops.mkldnn``'s linears: weights are packed once, and each linear is one call from Python."""

    def __init__(self, shapes: list[Shape]) -> None:
        self._packed = [(torch.ops.mkldnn._reorder_linear_weight(_random(n, k), None), k) for n, k in shapes]

    def run(self, x: Tensor, rows: int, rounds: int) -> list[float]:
        inputs = {k: x[: rows * k].view(rows, k) for k in {k for _, k in self._packed}}
        product = torch.ops.mkldnn._linear_pointwise
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            for weight, k in self._packed:
                product(inputs[k], weight, None, "none", [], "")
            took.append(time.perf_counter() - began)
        return took


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--bursts", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.15, help="length of one burst")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--level", choices=[level.name for level in supported_levels()], default=best_level().name)
    parser.add_argument("--argmax", action="store_true", help="our head gives the likeliest token, not the logits")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    level = next(level for level in supported_levels() if level.name == args.level)
    probe = ctypes.CDLL(str(library(level, default_cache(), "gemm_probe.cpp")))
    shapes = [*LAYER * LAYERS, HEAD]
    with torch.inference_mode():
        native, onednn = Native(probe, shapes, args.threads, args.argmax), OneDnn(shapes)
        results = {rows: measure(native, onednn, rows, args.bursts, args.seconds) for rows in args.rows}
    _print_table(results, args.level, args.threads)
    document = provenance() | {
        "level": args.level,
        "threads": args.threads,
        "weight_bytes": 2 * WEIGHTS,
        "seconds": {str(rows): {"ours": s.ours, "onednn": s.onednn, "read": s.read} for rows, s in results.items()},
    }
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n")


def measure(native: Native, onednn: OneDnn, rows: int, bursts: int, seconds: float) -> Samples:
    """Bursts of all three in turn at one row count."""
    x = _random(1, max(ROWS) * MLP)[0]
    samples = Samples()
    rounds = max(2, round(seconds / statistics.median(native.run(x, rows, 3))))
    onednn.run(x, rows, 2)
    for burst in range(bursts):
        turns: list[tuple[list[list[float]], Callable[[int], list[float]]]] = [
            (samples.ours, lambda count: native.run(x, rows, count)),
            (samples.onednn, lambda count: onednn.run(x, rows, count)),
            (samples.read, native.read),
        ]
        for taken, run in turns if burst % 2 else reversed(turns):
            time.sleep(0.03)  # OpenMP's idle threads spin for a while and would take the native kernel's cores
            taken.append(run(rounds + 1)[1:])
    return samples


def _random(n: int, k: int) -> Tensor:
    return torch.randn(n, k, dtype=torch.bfloat16) * 0.02


def _wide(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


def _at(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)


def _print_table(results: dict[int, Samples], level: str, threads: int) -> None:
    table = Table(
        "rows", "ours ms", "oneDNN ms", "oneDNN / ours (quartiles)", "read ms", "ours / read", "GB/s", "GFLOP/s",
        title=f"{level}, {threads} threads: medians",
    )  # fmt: skip
    for rows, samples in results.items():
        ours, theirs, read = (
            statistics.median(second for burst in bursts for second in burst)
            for bursts in (samples.ours, samples.onednn, samples.read)
        )
        ratios = samples.ratios()
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        table.add_row(
            str(rows),
            f"{1e3 * ours:.2f}",
            f"{1e3 * theirs:.2f}",
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            f"{1e3 * read:.2f}",
            f"{ours / read:.2f}",
            f"{2e-9 * WEIGHTS / ours:.1f}",
            f"{2e-9 * WEIGHTS * rows / ours:.0f}",
        )
    Console(file=sys.stderr, width=118).print(table)


if __name__ == "__main__":
    main()
