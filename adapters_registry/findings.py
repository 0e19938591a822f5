"""Results of an artifact's check: its manifest, the norms of each module's matrices, and notes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from adapters_registry.manifest import AnyManifest

NOTE_CHARS = 1000


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModuleNorms(_Value):
    """One module's Frobenius norms; 0 for matrices that it lacks."""

    module: str
    a: float = 0.0
    b: float = 0.0
    delta: float = 0.0
    """Of ``scale · B·A``, which is added to the base's weight."""
    bias: float = 0.0
    """Of ``scale · b_bias``, or of the bias that replaces the base's."""
    max_abs: float = 0.0
    """The largest absolute value of all its tensors."""


class Norms(_Value):
    """The norms of a version, to six significant digits."""

    modules: int
    """Number of modules that the adapter changes."""
    total: float
    """Of all deltas together: the root of the sum of their squares."""
    largest: float
    """The largest delta of a module that has matrices."""
    smallest: float
    max_abs: float
    by_module: tuple[ModuleNorms, ...]
    """In the manifest's order; if there are too many to keep, only those with the largest deltas."""


class Note(_Value):
    """Something that was normalised, left out or allowed; recorded so that nothing is silent."""

    code: str = Field(min_length=1, max_length=64)
    message: str = Field(max_length=NOTE_CHARS)

    @classmethod
    def of(cls, code: str, message: str) -> Self:
        """Shortened, and without characters that cannot be sent: names in an artifact may be as long as its
        header."""
        sendable = message.encode("utf-8", "backslashreplace").decode()
        return cls(code=code, message=sendable if len(sendable) <= NOTE_CHARS else sendable[: NOTE_CHARS - 1] + "…")


class Inspection(_Value):
    """Result for an artifact that may be published."""

    manifest: AnyManifest
    norms: Norms
    notes: tuple[Note, ...] = ()


def by_layer(modules: Iterable[str]) -> str:
    """All of ``modules``; those that differ in numbers only are shown as one: ``model.layers.*.mlp.up_proj (30)``."""
    groups: dict[str, list[str]] = {}
    for module in sorted(modules):
        groups.setdefault(".".join("*" if step.isdigit() else step for step in module.split(".")), []).append(module)
    lines = [f"{group} ({len(found)})" if len(found) > 1 else found[0] for group, found in sorted(groups.items())]
    return some(lines, 20)


def some(names: Collection[str], most: int = 5) -> str:
    """The first of ``names``, and how many more there are."""
    shown = ", ".join(sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def summary(found: Sequence[ModuleNorms], projections: frozenset[str], keep: int) -> Norms:
    """``found`` has all modules, of which ``projections`` have matrices; keeps the norms of ``keep`` single
    modules."""
    deltas = [norms.delta for norms in found if norms.module in projections]
    kept = {norms.module for norms in sorted(found, key=lambda norms: -norms.delta)[:keep]}
    return Norms(
        modules=len(found),
        total=_short(math.hypot(*deltas)),
        largest=_short(max(deltas, default=0.0)),
        smallest=_short(min(deltas, default=0.0)),
        max_abs=_short(max(norms.max_abs for norms in found)),
        by_module=tuple(_rounded(norms) for norms in found if norms.module in kept),
    )


def _rounded(norms: ModuleNorms) -> ModuleNorms:
    numbers = {name: _short(value) for name, value in norms if isinstance(value, float)}
    return norms.model_copy(update=numbers)


def _short(value: float) -> float:
    """Rounded, since the last digits depend on the machine's BLAS."""
    return float(f"{value:.6g}")
