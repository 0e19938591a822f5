"""What a kind makes of a config and a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters_registry.findings import Note
from adapters_registry.manifest import AdaptedModule


@dataclass(frozen=True, slots=True)
class Interpretation:
    """Before any value is read."""

    modules: tuple[AdaptedModule, ...]
    """Sorted by module."""
    copies: Mapping[str, str]
    """Modules of the base by the tensor that should be a copy of their weight."""
    notes: tuple[Note, ...]
