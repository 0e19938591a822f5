"""The floor of a step on this machine: a fixed probe of what reading and multiplying the weights cost at the least.

    floor = max(bytes / best read bandwidth,
                packed linears of the model's own shapes at that row count + adapters' bytes / best read bandwidth)

The linears are bfloat16 with random weights, body and head. They are computed by oneDNN and by our own kernels in
turn, and the faster of the two counts, so that neither flatters the engine.
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
    """Seconds, one list of raw samples a burst. Taken again and again through a run: the machine drifts."""

    read: list[list[float]] = field(default_factory=list)
    onednn: dict[int, list[list[float]]] = field(default_factory=dict)
    ours: dict[int, list[list[float]]] = field(default_factory=dict)

    @property
    def bandwidth(self) -> float:
        """Best bytes a second of any round."""
        return WEIGHT_BYTES / min(second for burst in self.read for second in burst)

    def linears_s(self, rows: int) -> float:
        """Body and head at ``rows``: the faster library's median."""
        return min(_median(self.onednn[rows]), _median(self.ours[rows]))

    def step_s(self, rows: int, context_bytes: float, adapter_bytes: int) -> float:
        """The floor of a step of ``rows`` that reads so many bytes of keys and values and of adapters."""
        return floor_s(self.bandwidth, self.linears_s(rows), context_bytes, adapter_bytes)


class Prober:
    """The probe's weights, packed once."""

    def __init__(self, threads: int) -> None:
        shapes = [*LAYER * LAYERS, HEAD]
        probe = ctypes.CDLL(str(library(best_level(), default_cache(), "gemm_probe.cpp")))
        self._native = Native(probe, shapes, threads, head_argmax=True)
        self._onednn = OneDnn(shapes)
        self.taken = Probe()

    @torch.inference_mode()
    def take(self, rows: Iterable[int]) -> None:
        """One burst of each at every row count."""
        self._pause()
        self.taken.read.append(self._native.read(12)[1:])
        for count in rows:
            x = torch.randn(count * MLP, dtype=torch.bfloat16) * 0.02
            self._pause()
            rounds = max(3, round(BURST_S / self._native.run(x, count, 2)[-1]))
            self.taken.ours.setdefault(count, []).append(self._native.run(x, count, rounds)[1:])
            self._pause()
            self.taken.onednn.setdefault(count, []).append(self._onednn.run(x, count, rounds)[1:])

    def _pause(self) -> None:
        time.sleep(0.05)  # idle OpenMP threads spin a while and would take our cores


def floor_s(bandwidth: float, linears_s: float, context_bytes: float, adapter_bytes: int) -> float:
    """Reading everything, or computing the linears and reading the adapters: whichever is longer."""
    everything = WEIGHT_BYTES + context_bytes + adapter_bytes
    return max(everything / bandwidth, linears_s + adapter_bytes / bandwidth)


def _median(bursts: list[list[float]]) -> float:
    return statistics.median(second for burst in bursts for second in burst)
