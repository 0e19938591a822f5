"""What a kind makes of a config and a header, before any value is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from adapters_registry.findings import ModuleNorms, Note
from adapters_registry.manifest import File, Manifest
from adapters_registry.tensorfile import TensorInfo


@dataclass(frozen=True, slots=True)
class Contents:
    """What every kind's manifest says."""

    base: str
    """Digest."""
    dtype: str
    files: tuple[File, ...]
    """Sorted by path."""


class Interpretation(Protocol):
    """One artifact of one kind, whose config and shapes are right."""

    @property
    def copies(self) -> Mapping[str, str]:
        """Modules of the base by the tensor that should be a copy of their weight."""

    @property
    def notes(self) -> Sequence[Note]:
        """What was normalised, passed over or allowed."""

    @property
    def weighed(self) -> frozenset[str]:
        """Modules whose deltas are compared with each other: those with matrices."""

    def measure(self, file: BinaryIO, infos: Mapping[str, TensorInfo]) -> tuple[ModuleNorms, ...]:
        """Reads every value, one entry a module; ``NotFinite`` names what is not a number."""

    def check_effect(self, norms: Sequence[ModuleNorms]) -> None:
        """``NoEffect`` if nothing would change."""

    def manifest(self, contents: Contents) -> Manifest:
        """What is done to each module."""
