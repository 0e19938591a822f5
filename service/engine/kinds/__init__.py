"""Kinds of adapter, one file each: what its weights look like and what they do to a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from adapters_registry.manifest import Manifest
from service.engine.adapter import Delta
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

    def bind(self, tensors: Mapping[str, Tensor], sites: Mapping[str, int]) -> tuple[Delta | None, ...]:
        """Slab tensors as one delta a site."""


KINDS: dict[str, Kind] = {"lora": lora}
