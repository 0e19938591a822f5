"""The floor of a step on a CUDA device: its best read bandwidth, and the linears of the base alone.

The linears are those of body and head, in bfloat16 with random weights. They are replayed as one CUDA graph, so that
launches cost no time. All times are measured by events on the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from loadtest.bench_gemm import HEAD, LAYER, LAYERS
from loadtest.floor import floor_s

READ_BYTES = 4 << 30
"""Much larger than any cache."""
WARM, TIMES = 3, 20


@dataclass(slots=True)
class DeviceProbe:
    """Seconds, one list of raw samples per burst."""

    read: list[list[float]] = field(default_factory=list)
    linears: dict[int, list[list[float]]] = field(default_factory=dict)
    read_bytes: int = READ_BYTES

    @property
    def bandwidth(self) -> float:
        """The best round's bytes per second."""
        return self.read_bytes / min(second for burst in self.read for second in burst)

    def step_s(self, rows: int, context_bytes: float, adapter_bytes: int) -> float:
        """The floor of a step of ``rows`` in seconds; ``context_bytes`` are the keys and values that it reads."""
        linears = statistics.median(second for burst in self.linears[rows] for second in burst)
        return floor_s(self.bandwidth, linears, context_bytes, adapter_bytes)


class DeviceProber:
    """Has the weights and the buffer of the probe on the device."""

    def __init__(self) -> None:
        draw = {"dtype": torch.bfloat16, "device": "cuda"}
        self._weights = [torch.randn(shape, **draw) * 0.02 for shape in [*LAYER * LAYERS, HEAD]]  # type: ignore[call-overload]
        self._buffer = torch.randn(READ_BYTES // 4, device="cuda")
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, dict[int, Tensor]]] = {}
        """Graphs with their inputs, which a replay reads at the captured addresses."""
        self.probe = DeviceProbe()

    @torch.inference_mode()
    def take(self, rows: Iterable[int]) -> None:
        """One burst of each kind at every row count."""
        self.probe.read.append(_timed(lambda: self._buffer.sum()))
        for count in rows:
            if count not in self._graphs:
                self._graphs[count] = self._captured(count)
            self.probe.linears.setdefault(count, []).append(_timed(self._graphs[count][0].replay))

    def _captured(self, rows: int) -> tuple[torch.cuda.CUDAGraph, dict[int, Tensor]]:
        """Captures all linears at ``rows`` rows; layers share inputs and have separate weights."""
        inputs = {
            width: torch.randn(rows, width, dtype=torch.bfloat16, device="cuda")
            for width in {weight.shape[1] for weight in self._weights}
        }

        def run() -> list[Tensor]:
            return [F.linear(inputs[weight.shape[1]], weight) for weight in self._weights]

        run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph, inputs


def _timed(run: Callable[[], object]) -> list[float]:
    """Seconds of each of ``TIMES`` runs, by events."""
    for _ in range(WARM):
        run()
    events = [(_event(), _event()) for _ in range(TIMES)]
    for began, ended in events:
        began.record()
        run()
        ended.record()
    torch.cuda.synchronize()
    return [began.elapsed_time(ended) / 1e3 for began, ended in events]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
