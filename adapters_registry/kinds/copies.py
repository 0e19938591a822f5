"""Copies of the base's embeddings and head in an adapter's file: dropped if equal to the base's, refused otherwise.

PEFT saves them with ``save_embedding_layers=True``, which it also sets by itself if the vocabulary was resized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import BinaryIO

from adapters_registry.errors import ShapeMismatch, UnexpectedTensor
from adapters_registry.findings import Note, some
from adapters_registry.manifest import BaseManifest, BaseModule
from adapters_registry.tensorfile import TensorInfo, rows

COPIED = frozenset({"embedding", "head"})
_WITHOUT = "save only the adapter, save_pretrained(..., save_embedding_layers=False)"


def check_copies(
    file: BinaryIO, infos: Mapping[str, TensorInfo], copies: Mapping[str, str], base: BaseManifest
) -> tuple[Note, ...]:
    """``copies`` maps tensors to the module of ``base`` whose weight each should be; reads each tensor once."""
    for tensor, module in sorted(copies.items()):
        _check(file, tensor, infos[tensor], module, base)
    if not copies:
        return ()
    return (Note.of("base_copies", f"Left out, as they are the base's own: {some(copies)}."),)


def _check(file: BinaryIO, tensor: str, info: TensorInfo, module: str, base: BaseManifest) -> None:
    known = base.modules[module]
    expected = weight_shape(known)
    if info.shape != expected:
        raise ShapeMismatch(
            f"Tensor {tensor} has shape {list(info.shape)}, and {module} of this base ({base.name}) has "
            f"{list(expected)}: it was trained with another vocabulary. Serve a base of that vocabulary and push to "
            "it, or train without new tokens.",
            param=tensor,
        )
    if known.weight is None:
        raise UnexpectedTensor(
            f"Tensor {tensor} cannot be compared with the base's ({base.name}), as the service that announced it is "
            f"of an earlier release: {_WITHOUT}, or upgrade the service.",
            param=tensor,
        )
    if _digest(file, tensor, info) != known.weight:
        raise UnexpectedTensor(
            f"Tensor {tensor} is not the base's ({base.name}): trained embeddings and heads are not supported yet. "
            f"Train with them frozen; if they were, {_WITHOUT}.",
            param=tensor,
        )


def weight_shape(module: BaseModule) -> tuple[int, int]:
    """Shape of an embedding or a head: tokens first."""
    if module.type == "embedding":
        return module.in_features, module.out_features
    return module.out_features, module.in_features


def _digest(file: BinaryIO, tensor: str, info: TensorInfo) -> str:
    """The digest, computed as for ``BaseModule.weight``."""
    hashed = hashlib.sha256()
    for piece in rows(file, tensor, info):
        hashed.update(piece.astype("<f4").tobytes())
    return f"sha256:{hashed.hexdigest()}"
