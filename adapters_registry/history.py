"""Where an alias goes back to: a plain function of its moves."""

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
    """Where it pointed afterwards; None once deleted."""


def previous(moves: Iterable[Move], live: frozenset[int]) -> int | None:
    """The version before the present one, or None. A rollback takes back one move, so rolling back twice
    goes back twice; versions that are not ``live`` any more are passed over."""
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
