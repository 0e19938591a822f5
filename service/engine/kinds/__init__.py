"""Kinds of adapter, one file each: from its weights to what the engine executes (``service.engine.adapter``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.kinds import lora


class Kind(Protocol):
    """The seam: a module with these two functions and a layout version."""

    LAYOUT: int

    def canonicalise(
        self,
        manifest: Manifest,
        tensors: Mapping[str, Tensor],
        base_bias: Mapping[str, Tensor],
        dtype: torch.dtype,
    ) -> dict[str, Tensor]:
        """Raw tensors of the artifact as the slab holds them: ready to multiply with, contiguous."""

    def bind(self, digest: str, tensors: Mapping[str, Tensor], sites: Mapping[str, int]) -> BoundAdapter:
        """Slab tensors at their sites; ``AdapterIncompatible`` for a module that is no site of this engine."""


KINDS: dict[str, Kind] = {"lora": lora}
