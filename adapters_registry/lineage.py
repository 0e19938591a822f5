"""The graph of parent and child versions, walked one generation at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from adapters_registry.records import Lineage, LineageNode
from adapters_registry.rows import Rows

NODES = 1000
"""Bound on nodes in one answer."""
_Key = tuple[str, str, int]


def graph(rows: Rows, digest: str, tenant: str | None) -> Lineage:
    """The versions of ``digest``, their ancestors and descendants, as far as ``tenant`` may see them.

    The walk ends at versions that the tenant may not see. ``tenant`` None sees all.
    """
    found: dict[_Key, LineageNode] = {}
    start = rows.versions.nodes("digest", [digest], tenant)
    complete = _add(found, start)
    for by in ("digest", "parent"):
        seen, generation = set[str](), start
        while generation and complete:
            wanted = _next(generation, by) - seen
            seen |= wanted
            generation = rows.versions.nodes(by, wanted, tenant)
            complete = _add(found, generation)
    nodes = sorted(found.values(), key=lambda node: (node.created_at, node.tenant, node.name, node.number))
    return Lineage(nodes=tuple(nodes), complete=complete)


def _next(generation: Iterable[LineageNode], by: Literal["digest", "parent"]) -> set[str]:
    """Digests of the next older generation (by digest), or parents' digests of the next younger one (by parent)."""
    if by == "parent":
        return {node.digest for node in generation}
    return {node.parent for node in generation if node.parent is not None}


def _add(found: dict[_Key, LineageNode], nodes: Iterable[LineageNode]) -> bool:
    """Adds ``nodes``; returns whether there was room for all."""
    for node in nodes:
        key = node.tenant, node.name, node.number
        if key not in found and len(found) == NODES:
            return False
        found[key] = node
    return True
