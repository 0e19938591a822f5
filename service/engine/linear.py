"""Projections that mix adapters in one batch: the frozen base once for all rows, then each segment's delta."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from service.engine.batch import Segment

Matmul = Callable[[Tensor], Tensor]
"""[..., in] → [..., out], bias included; the result is fresh memory."""


class StepState:
    """The segments of the step under way; one an engine, shared by all its projections."""

    __slots__ = ("delta_dtype", "segments")

    def __init__(self, delta_dtype: torch.dtype) -> None:
        self.delta_dtype = delta_dtype
        """What adapters are held and multiplied in."""
        self.segments: tuple[Segment, ...] = ()


class MixedModule(nn.Module):
    """A base module at one site: its own output, changed row by row by the adapters of the step.

    Rows of one adapter are neighbours (``Batch.segments``), so that each adapter's weights are read once, in
    place, by products over its own rows only: no padding, no gather of weights. Rows of the base have no
    segment and cost nothing.
    """

    def __init__(self, site: int, base: Matmul, state: StepState) -> None:
        super().__init__()
        self.site = site
        self.base = base
        self.state = state

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        if self.state.segments:
            rows_in = x.reshape(-1, x.shape[-1]).to(self.state.delta_dtype)
            rows_out = y.view(-1, y.shape[-1])
            for segment in self.state.segments:
                delta = segment.adapter.deltas[self.site]
                if delta is not None:
                    span = slice(segment.start, segment.stop)
                    delta.apply(rows_in[span], rows_out[span])
        return y


class PackedLinear(nn.Module):
    """A bfloat16 linear on the CPU with its weight packed once for oneDNN.

    ``F.linear`` packs the weight anew at every call, which costs more than the product at small row counts.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return product


def can_pack(weight: Tensor) -> bool:
    """Whether packed bfloat16 products work here for this weight."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """The fastest module here for x Wᵀ + b, ``weight`` [out, in]."""
    if can_pack(weight):
        return PackedLinear(weight, bias)
    module = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(bias, requires_grad=False)
    return module
