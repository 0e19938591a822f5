"""Kinds of adapter, one file each: converts weights to what the engine executes (``service.engine.adapter``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.kinds import lora


class Kind(Protocol):
    """A module with these two functions and a layout version."""

    LAYOUT: int

    def canonicalise(
        self,
        manifest: Manifest,
        tensors: Mapping[str, Tensor],
        base_bias: Mapping[str, Tensor],
        dtype: torch.dtype,
    ) -> dict[str, Tensor]:
        """Converts the artifact's tensors to those of the slab: contiguous and ready to multiply with."""

    def bind(self, digest: str, tensors: Mapping[str, Tensor], sites: Mapping[str, int]) -> BoundAdapter:
        """Binds slab tensors to their sites. Raises ``AdapterIncompatible`` for a module that is no site."""


KINDS: dict[str, Kind] = {"lora": lora}
