"""Prepares the base in place: replaces modules by ones that mix adapters, and reads its context length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from service.engine.linear import linear
from service.engine.mixed import MixedEmbedding, MixedHead, MixedModule, StepState
from service.errors import BaseUnavailable


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """The sites of adapters in this base."""

    index: Mapping[str, int]
    """Module name → site."""
    bias: Mapping[str, Tensor]
    """Module name → the base's bias [out], for modules that have one."""


def replace_modules(model: PreTrainedModel, state: StepState) -> Sites:
    """Replaces every linear, Conv1D and biased norm of the decoder layers, the input embedding and the output head by
    a mixed module.

    Weights are moved; only packing copies them.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    index: dict[str, int] = {}
    biases: dict[str, Tensor] = {}
    for name, module in list(model.named_modules()):
        base = module if module is embedding else _projection(module)
        if base is None:
            continue
        index[name] = len(index)
        bias = _bias(module)
        if bias is not None:
            biases[name] = bias
        mixed = MixedEmbedding if module is embedding else MixedHead if module is head else MixedModule
        _put(model, name, mixed(index[name], base, state))
    return Sites(index, biases)


def base_biases(model: PreTrainedModel, modules: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the biases [out] of those ``modules`` that have one."""
    found = {name: _bias(model.get_submodule(name)) for name in modules}
    return {name: bias.clone() for name, bias in found.items() if bias is not None}


def context_tokens(config: object) -> int:
    """The base's longest sequence, in tokens; ``BaseUnavailable`` if its configuration does not have it."""
    for field in ("max_position_embeddings", "n_positions"):
        length = getattr(config, field, None)
        if length:
            return int(length)
    raise BaseUnavailable("the base's config.json names no context length (max_position_embeddings)")


def eos_ids(model: PreTrainedModel) -> frozenset[int]:
    """End-of-sequence ids of the generation config and the model config."""
    found: set[int] = set()
    for config in (getattr(model, "generation_config", None), model.config):
        ids = getattr(config, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def _projection(module: nn.Module) -> nn.Module | None:
    if isinstance(module, Conv1D):
        return linear(module.weight.detach().t().contiguous(), module.bias.detach())
    if isinstance(module, nn.Linear):
        return linear(module.weight.detach(), _bias(module))
    if isinstance(module, nn.LayerNorm) and module.bias is not None:
        return module
    return None


def _bias(module: nn.Module) -> Tensor | None:
    bias = getattr(module, "bias", None)
    return bias.detach() if isinstance(bias, torch.Tensor) else None


def _put(model: PreTrainedModel, name: str, new: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, new)
