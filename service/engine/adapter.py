"""What a batch row points at: an adapter whose weights lie ready, module by module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Delta(Protocol):
    """What an adapter does at one module; one class a kind (see ``kinds``)."""

    def apply(self, x: Tensor, y: Tensor) -> None:
        """Change ``y`` [rows, out] in place, given the module's input ``x`` [rows, in]."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundAdapter:
    """An adapter version bound to the engine's sites (adaptable modules, numbered at load)."""

    digest: str
    deltas: tuple[Delta | None, ...]
    """By site; None where the adapter leaves the module alone."""
    nbytes: int

    def __repr__(self) -> str:
        touched = sum(delta is not None for delta in self.deltas)
        return f"<BoundAdapter {self.digest[:19]} {touched} sites, {self.nbytes} bytes>"
