"""The floor of a step on this machine: the least time that reading and multiplying the weights take.

    floor = max(bytes / best read bandwidth,
                packed linears of the model's own shapes at that row count + adapters' bytes / best read bandwidth)

The linears are those of body and head, in bfloat16 with random weights. They are computed by oneDNN and by the native
kernels in turn, and the faster of the two counts, so that a slow library does not raise the floor.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from loadtest.bench_gemm import HEAD, LAYER, LAYERS, MLP, WEIGHTS, Native, OneDnn
from service.engine.kernels.build import default_cache, library
from service.engine.kernels.levels import best_level

WEIGHT_BYTES = 2 * WEIGHTS
BURST_S = 0.15


@dataclass(slots=True)
class Probe:
    """Seconds, one list of raw samples per burst. Repeated throughout a run, because the machine drifts."""

    read: list[list[float]] = field(default_factory=list)
    onednn: dict[int, list[list[float]]] = field(default_factory=dict)
    ours: dict[int, list[list[float]]] = field(default_factory=dict)

    @property
    def bandwidth(self) -> float:
        """The best round's bytes per second."""
        return WEIGHT_BYTES / min(second for burst in self.read for second in burst)

    def linears_s(self, rows: int) -> float:
        """Body and head at ``rows``: the median of the faster library, in seconds."""
        return min(_median(self.onednn[rows]), _median(self.ours[rows]))

    def step_s(self, rows: int, context_bytes: float, adapter_bytes: int) -> float:
        """The floor of a step of ``rows`` in seconds; ``context_bytes`` are the keys and values that it reads."""
        return floor_s(self.bandwidth, self.linears_s(rows), context_bytes, adapter_bytes)


class Prober:
    """The probe's weights, packed once."""

    def __init__(self, threads: int) -> None:
        shapes = [*LAYER * LAYERS, HEAD]
        probe = ctypes.CDLL(str(library(best_level(), default_cache(), "gemm_probe.cpp")))
        self._native = Native(probe, shapes, threads, head_argmax=True)
        self._onednn = OneDnn(shapes)
        self.probe = Probe()

    @torch.inference_mode()
    def take(self, rows: Iterable[int]) -> None:
        """One burst of each kind at every row count."""
        self._pause()
        self.probe.read.append(self._native.read(12)[1:])
        for count in rows:
            x = torch.randn(count * MLP, dtype=torch.bfloat16) * 0.02
            self._pause()
            rounds = max(3, round(BURST_S / self._native.run(x, count, 2)[-1]))
            self.probe.ours.setdefault(count, []).append(self._native.run(x, count, rounds)[1:])
            self._pause()
            self.probe.onednn.setdefault(count, []).append(self._onednn.run(x, count, rounds)[1:])

    def _pause(self) -> None:
        time.sleep(0.05)  # OpenMP's idle threads spin for a while and would take the native kernel's cores


def floor_s(bandwidth: float, linears_s: float, context_bytes: float, adapter_bytes: int) -> float:
    """The longer of: reading everything; computing the linears and reading the adapters."""
    everything = WEIGHT_BYTES + context_bytes + adapter_bytes
    return max(everything / bandwidth, linears_s + adapter_bytes / bandwidth)


def _median(bursts: list[list[float]]) -> float:
    return statistics.median(second for burst in bursts for second in burst)
