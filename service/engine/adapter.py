"""The interface between adapters and backends: what an adapter may change in a step, as values.

::

    at a site (a module of the base):   x ── × scale_in ──► base ──► replace ──► × scale_out ──► + add(x) ──► y
    in front of the prompt:             rows without tokens, as embeddings or as keys and values

Every kind of adapter (``kinds``) is bound to these values only, and a backend reports which kinds it executes
(``backend``). ``around`` and ``front`` of an adapter that only adds, such as LoRA, are empty: a step tests for them
once, not at every site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


class Addition(Protocol):
    """What an adapter adds at one site; one class per form of addition."""

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add to ``y`` [rows, out] in place; ``x`` [rows, in] is the site's unscaled input.

        At the embedding ``x`` [rows] is token ids.
        """


class Replacement(Protocol):
    """Weights of the adapter that replace all or some of the base's at one site."""

    def replace(self, x: Tensor, y: Tensor) -> None:
        """Overwrite those parts of ``y`` [rows, out], the base's product, for which the adapter has weights.

        ``x`` is as for ``Addition``, but scaled by ``scale_in``.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """Changes around the base's product at one site, applied in the order of the fields."""

    scale_in: Tensor | None = None
    """[in]: factors of the product's input"""
    replacement: Replacement | None = None
    scale_out: Tensor | None = None
    """[out]: factors of the product, before anything is added"""


@dataclass(frozen=True, slots=True, eq=False)
class FrontRows:
    """Embeddings in front of the prompt; their keys and values are computed with the adapter."""

    embeddings: Tensor
    """[rows, hidden]"""

    @property
    def rows(self) -> int:
        return len(self.embeddings)

    def first(self, rows: int) -> FrontRows:
        return FrontRows(self.embeddings[:rows])


@dataclass(frozen=True, slots=True, eq=False)
class FrontKeys:
    """Keys and values in front of the prompt, in the form that attention reads; no position is applied to them."""

    keys: tuple[Tensor, ...]
    """By layer: [rows, key heads, dim]"""
    values: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        return len(self.keys[0])

    def first(self, rows: int) -> FrontKeys:
        return FrontKeys(tuple(key[:rows] for key in self.keys), tuple(value[:rows] for value in self.values))


@dataclass(frozen=True, slots=True, eq=False)
class BoundAdapter:
    """An adapter version bound to the engine's sites (adaptable modules, numbered at load)."""

    digest: str
    adds: tuple[Addition | None, ...]
    """By site; None if the adapter adds nothing there."""
    nbytes: int
    around: Mapping[int, Around] = field(default_factory=dict)
    """By site, for sites where the adapter does more than add."""
    front: FrontRows | FrontKeys | None = None

    def __repr__(self) -> str:
        touched = {site for site, addition in enumerate(self.adds) if addition is not None} | set(self.around)
        return f"<BoundAdapter {self.digest[:19]} {len(touched)} sites, {self.nbytes} bytes>"
