"""Describes a loaded model as the manifest that the registry checks uploads against.

For embeddings and heads the manifest has the digest of their values. With it the registry, which has no weights,
recognises a copy of them in an adapter's folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_registry.manifest import BaseManifest, BaseModule
from service.base.digest import base_digest
from service.errors import BaseUnavailable

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

_ROWS = 4096
"""Rows of a weight that are hashed at a time, because a weight may be as large as the free memory."""


def describe_base(path: Path, name: str, model: PreTrainedModel, cache_dir: Path | None = None) -> BaseManifest:
    """The manifest of ``model`` as loaded from ``path``, before any module of it is replaced."""
    return describe_model(model, name, base_digest(path, cache_dir))


def describe_model(model: PreTrainedModel, name: str, digest: str) -> BaseManifest:
    """The manifest of a model whose digest is known."""
    head = model.get_output_embeddings()
    return BaseManifest(
        digest=digest,
        name=name,
        architecture=type(model).__name__,
        dtype=str(model.dtype).removeprefix("torch."),
        vocab_size=head.weight.shape[0],
        layers=model.config.get_text_config().num_hidden_layers,
        modules=_modules(model, head),
    )


def decoder_layers(model: PreTrainedModel) -> str:
    """The dotted name of the list of decoder layers, e.g. ``model.layers`` or ``transformer.h``."""
    from torch import nn

    count = model.config.get_text_config().num_hidden_layers
    lists = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if not lists:
        raise BaseUnavailable(
            f"{type(model).__name__} is not supported as a base: no list of its {count} decoder layers was found."
        )
    return min(lists, key=lambda name: (name.count("."), name))


def _modules(model: PreTrainedModel, head: nn.Module) -> dict[str, BaseModule]:
    inside = decoder_layers(model) + "."
    found = {
        name: _describe(module, is_head=module is head, is_inside=name.startswith(inside))
        for name, module in model.named_modules()
    }
    return {name: module for name, module in found.items() if module is not None}


def _describe(module: nn.Module, *, is_head: bool, is_inside: bool) -> BaseModule | None:
    """None for modules that no adapter can change: containers, projections outside the layers (OPT's project_in)."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    bias = getattr(module, "bias", None) is not None
    if isinstance(module, nn.Linear) and (is_head or is_inside):
        kind = "head" if is_head else "linear"
        weight = weight_digest(module.weight) if is_head else None
        return BaseModule(
            type=kind, in_features=module.in_features, out_features=module.out_features, bias=bias, weight=weight
        )
    if isinstance(module, Conv1D) and is_inside:
        return BaseModule(type="conv1d", in_features=module.nx, out_features=module.nf, bias=bias)
    if isinstance(module, nn.Embedding):
        rows, columns = module.weight.shape
        digest = weight_digest(module.weight)
        return BaseModule(type="embedding", in_features=rows, out_features=columns, bias=False, weight=digest)
    weight = getattr(module, "weight", None)
    if "Norm" in type(module).__name__ and weight is not None:
        size = weight.numel()
        return BaseModule(type="norm", in_features=size, out_features=size, bias=bias)
    return None


def weight_digest(weight: Tensor) -> str | None:
    """Digest of the values as float32, row by row (``BaseModule.weight``); narrower types convert exactly.

    None if the weight has no values, in a model that has shapes only.
    """
    if weight.is_meta:
        return None
    hashed = hashlib.sha256()
    for rows in weight.detach().split(_ROWS):
        hashed.update(rows.float().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return f"sha256:{hashed.hexdigest()}"
