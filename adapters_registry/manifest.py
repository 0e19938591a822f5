"""What a version and a base are: immutable values whose canonical JSON is their identity."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A tenant's, adapter's or alias' name: an id, never a path."""
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]

ModuleType = Literal["linear", "conv1d", "head", "embedding", "norm"]
"""linear and conv1d (GPT-2's transposed linear) are projections inside the decoder layers."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseModule(_Value):
    """One module of the base that has weights."""

    type: ModuleType
    in_features: int = Field(ge=0)
    out_features: int = Field(ge=0)
    bias: bool


class BaseManifest(_Value):
    """What uploads are checked against, so that the registry needs no torch.

    ``digest`` covers sorted tensor names, dtypes, shapes and bytes, the config essentials, the tokenizer and
    the chat template; it is computed by the service, which holds the weights.
    """

    digest: Digest
    name: str = Field(min_length=1, max_length=512)
    architecture: str = Field(min_length=1, max_length=128)
    dtype: str = Field(min_length=1, max_length=32)
    vocab_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    modules: dict[str, BaseModule] = Field(max_length=65536)
    """By dotted name as in the transformers model, e.g. ``model.layers.0.self_attn.q_proj``."""


class File(_Value):
    """One file of an adapter, by content."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    digest: Digest
    size: int = Field(ge=0)


class AdaptedModule(_Value):
    """What the adapter does to one module of the base: the uploaded config, worked out once.

    For LoRA, y += scale · (x Aᵀ) Bᵀ (Hu et al. 2021), plus ``scale · b_bias`` where B has a bias, and with
    ``bias`` the base's own bias is replaced. Names are tensors of ``adapter_model.safetensors``.
    """

    module: str
    rank: int = Field(ge=0)
    """0: only the bias changes."""
    scale: float
    a: str | None = None
    """[rank, in_features]"""
    b: str | None = None
    """[out_features, rank]"""
    b_bias: str | None = None
    """[out_features]"""
    bias: str | None = None
    """[out_features], instead of the base's"""


class Manifest(_Value):
    """An immutable adapter version; its digest is the sha256 of the canonical JSON."""

    format: Literal[1] = 1
    kind: Literal["lora"]
    base: Digest
    rank: int = Field(ge=0)
    """The largest rank of any module."""
    dtype: str
    files: tuple[File, ...]
    """Sorted by path."""
    modules: tuple[AdaptedModule, ...]
    """Sorted by module."""

    def canonical_json(self) -> bytes:
        """Sorted keys, no spaces, UTF-8: the bytes that the digest is of."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """``sha256:`` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.canonical_json()).hexdigest()

    def file(self, path: str) -> File:
        """The file at ``path``; ``KeyError`` if there is none."""
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)
