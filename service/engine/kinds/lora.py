"""LoRA (Hu et al. 2021) and rsLoRA (Kalajdzievski 2023): y += s · (x Aᵀ) Bᵀ, and replaced biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters_registry.manifest import LoraManifest, LoraModule, Manifest
from service.engine.adapter import Addition, BoundAdapter
from service.errors import AdapterIncompatible

LAYOUT = 1
"""Increase it when the output of ``canonicalise`` changes."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraDelta:
    """One module's change, with its own rank: nothing is padded to a larger rank."""

    a_t: Tensor | None
    """[in, rank], Aᵀ"""
    b_t: Tensor | None
    """[rank, out], s · Bᵀ"""
    bias: Tensor | None
    """[out], added to the output"""

    def add(self, x: Tensor, y: Tensor) -> None:
        if self.a_t is not None and self.b_t is not None:
            low = x @ self.a_t
            if y.dtype == low.dtype:
                y.addmm_(low, self.b_t)
            else:
                y += low @ self.b_t
        if self.bias is not None:
            y += self.bias


def canonicalise(
    manifest: Manifest, tensors: Mapping[str, Tensor], base_bias: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Transposes, scales in float32 and casts once; a replaced bias becomes its difference from the base's."""
    assert isinstance(manifest, LoraManifest)
    out: dict[str, Tensor] = {}
    for module in manifest.modules:
        part = {role: tensors[name] for role, name in module.tensors.items()}
        if "a" in part and "b" in part:
            out[f"{module.module}/a_t"] = part["a"].float().t().to(dtype).contiguous()
            out[f"{module.module}/b_t"] = (part["b"].float() * module.scale).t().to(dtype).contiguous()
        bias = _bias(module, part, base_bias)
        if bias is not None:
            out[f"{module.module}/bias"] = bias.to(dtype).contiguous()
    return out


def bind(digest: str, tensors: Mapping[str, Tensor], sites: Mapping[str, int]) -> BoundAdapter:
    """An adapter that only adds. Raises ``AdapterIncompatible`` if a module is no site of the engine."""
    adds: list[Addition | None] = [None] * len(sites)
    for module in {name.rpartition("/")[0] for name in tensors}:
        if module not in sites:
            raise AdapterIncompatible(
                f"the adapter changes module {module!r}, which this engine does not adapt; "
                "train it on the projections of the decoder layers"
            )
        part = {kind: tensors.get(f"{module}/{kind}") for kind in ("a_t", "b_t", "bias")}
        adds[sites[module]] = LoraDelta(**part)
    return BoundAdapter(digest, tuple(adds), sum(tensor.nbytes for tensor in tensors.values()))


def _bias(module: LoraModule, part: Mapping[str, Tensor], base_bias: Mapping[str, Tensor]) -> Tensor | None:
    """The bias that is added to the product, from the module's tensors by role; None if there is none."""
    total: Tensor | None = None
    if "b_bias" in part:
        total = part["b_bias"].float() * module.scale
    if "bias" in part:
        if module.module not in base_bias:
            raise AdapterIncompatible(
                f"the adapter replaces the bias of {module.module!r}, which has none in this base"
            )
        change = part["bias"].float() - base_bias[module.module].float().cpu()
        total = change if total is None else total + change
    return total
