"""The floor of a step on a CUDA device: its best read bandwidth, and the linears of the base alone.

The linears are bfloat16 with random weights, body and head, and are replayed as one CUDA graph, so that no launch is
waited for. Everything is timed by events on the device.
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
"""Many times any cache."""
WARM, TIMES = 3, 20


@dataclass(slots=True)
class DeviceProbe:
    """Seconds, one list of raw samples a burst."""

    read: list[list[float]] = field(default_factory=list)
    linears: dict[int, list[list[float]]] = field(default_factory=dict)
    read_bytes: int = READ_BYTES

    @property
    def bandwidth(self) -> float:
        """Best bytes a second of any round."""
        return self.read_bytes / min(second for burst in self.read for second in burst)

    def step_s(self, rows: int, context_bytes: float, adapter_bytes: int) -> float:
        """The floor of a step of ``rows`` that reads so many bytes of keys and values and of adapters."""
        linears = statistics.median(second for burst in self.linears[rows] for second in burst)
        return floor_s(self.bandwidth, linears, context_bytes, adapter_bytes)


class DeviceProber:
    """The probe's weights and its buffer, on the device once."""

    def __init__(self) -> None:
        draw = {"dtype": torch.bfloat16, "device": "cuda"}
        self._weights = [torch.randn(shape, **draw) * 0.02 for shape in [*LAYER * LAYERS, HEAD]]  # type: ignore[call-overload]
        self._buffer = torch.randn(READ_BYTES // 4, device="cuda")
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, dict[int, Tensor]]] = {}
        """With the inputs, which a replay reads where they were."""
        self.taken = DeviceProbe()

    @torch.inference_mode()
    def take(self, rows: Iterable[int]) -> None:
        """One burst of each at every row count."""
        self.taken.read.append(_timed(lambda: self._buffer.sum()))
        for count in rows:
            if count not in self._graphs:
                self._graphs[count] = self._captured(count)
            self.taken.linears.setdefault(count, []).append(_timed(self._graphs[count][0].replay))

    def _captured(self, rows: int) -> tuple[torch.cuda.CUDAGraph, dict[int, Tensor]]:
        """All linears at ``rows`` rows; the inputs are shared, the weights are not."""
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
