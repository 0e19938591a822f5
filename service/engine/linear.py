"""The base's linear layers: packed once for oneDNN where that is faster, otherwise torch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """A bfloat16 linear on the CPU with its weight packed once for oneDNN.

    ``F.linear`` packs the weight at every call, which costs more than the product at small row counts.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return product


def can_pack(weight: Tensor) -> bool:
    """Whether packed bfloat16 products work for this weight on this machine."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """The fastest available module for x Wᵀ + b, with ``weight`` [out, in]."""
    if can_pack(weight):
        return PackedLinear(weight, bias)
    module = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(bias, requires_grad=False)
    return module
