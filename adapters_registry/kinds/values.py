"""What a kind returns for a config and a header, before any value is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from adapters_registry.findings import ModuleNorms, Note
from adapters_registry.manifest import File, Manifest
from adapters_registry.tensorfile import TensorInfo


@dataclass(frozen=True, slots=True)
class Contents:
    """Fields of every kind's manifest."""

    base: str
    """Digest."""
    dtype: str
    files: tuple[File, ...]
    """Sorted by path."""


class Interpretation(Protocol):
    """One artifact of one kind, whose config and shapes are valid."""

    @property
    def copies(self) -> Mapping[str, str]:
        """By tensor: the module of the base whose weight it should be a copy of."""

    @property
    def notes(self) -> Sequence[Note]:
        """What was normalised, ignored or allowed."""

    @property
    def weighed(self) -> frozenset[str]:
        """Modules whose deltas are compared with each other: those with matrices."""

    def measure(self, file: BinaryIO, infos: Mapping[str, TensorInfo]) -> tuple[ModuleNorms, ...]:
        """Reads every value, one entry per module; ``NotFinite`` names a tensor with NaN or infinity."""

    def check_effect(self, norms: Sequence[ModuleNorms]) -> None:
        """``NoEffect`` if nothing would change."""

    def manifest(self, contents: Contents) -> Manifest:
        """The manifest of the artifact."""
