"""The target of a rollback: a plain function of an alias' moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class MoveKind(StrEnum):
    """The audit actions that move an alias."""

    SET = "alias.set"
    ROLLBACK = "alias.rollback"
    DELETE = "alias.delete"


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias, oldest first in a history."""

    kind: MoveKind
    version_id: int | None
    """The version that it pointed at after the move; None if deleted."""


def previous(moves: Iterable[Move], live: frozenset[int]) -> int | None:
    """The version before the current one, or None. A rollback undoes one move, so two rollbacks undo two;
    versions that are no longer ``live`` are skipped."""
    stack: list[int] = []
    for move in moves:
        if move.version_id is None:
            stack.clear()
        elif move.kind is MoveKind.ROLLBACK:
            while stack and stack[-1] != move.version_id:
                stack.pop()
        elif not stack or stack[-1] != move.version_id:
            stack.append(move.version_id)
    present = stack.pop() if stack else None
    return next((v for v in reversed(stack) if v in live and v != present), None)
