"""How an alias is moved within a transaction: checks its generation, its protection and required evaluations."""

from __future__ import annotations

from typing import NamedTuple

from adapters_registry.access import Principal, Scope
from adapters_registry.errors import (
    AliasNotFound,
    AliasProtected,
    EvaluationRequired,
    GenerationMismatch,
    GenerationRequired,
)
from adapters_registry.history import MoveKind
from adapters_registry.records import AliasRecord
from adapters_registry.rows import AliasRow, Change, Rows


class Pointer(NamedTuple):
    """An alias, which may not exist yet."""

    tenant: str
    name: str
    adapter_id: int
    alias: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}"


def point(rows: Rows, at: Pointer, version_id: int | None, kind: MoveKind, by: Principal) -> None:
    """Move, delete or create the alias with its audit entry; does nothing if it already points there."""
    present = rows.aliases.get(at.adapter_id, at.alias)
    if present is not None and present.version_id == version_id:
        return
    check_protection(rows, at, present, None if kind is MoveKind.ROLLBACK else version_id, by)
    if present is None:
        assert version_id is not None
        rows.aliases.add(at.adapter_id, at.alias, version_id)
    elif not rows.aliases.point(at.adapter_id, at.alias, version_id, present.generation):
        raise GenerationMismatch(f"Alias {at.alias!r} moved meanwhile: read it and try again.", param="If-Match")
    generation = 1 if present is None else present.generation + 1
    detail = {"version": rows.versions.number(version_id), "generation": generation}
    rows.record(Change(kind, str(at), at.adapter_id, at.alias, version_id, detail), actor=by.id)


def check_protection(rows: Rows, at: Pointer, present: AliasRow | None, target: int | None, by: Principal) -> None:
    """Checks whether ``by`` may move the alias at all, and to ``target``.

    A rollback needs no evaluation: the earlier target passed what was required then, and a rollback must never have
    to wait for an evaluation.
    """
    if present is None or not present.protected:
        return
    if not by.may(Scope.ALIAS_WRITE):
        raise AliasProtected(
            f"Alias {at.alias!r} of {at} is protected: use a key with the scope alias:write.", param="alias"
        )
    if target is not None and present.requires is not None and not rows.versions.passed(target, present.requires):
        raise EvaluationRequired(
            f"Alias {at.alias!r} of {at} moves only to versions that passed the evaluation {present.requires!r}: "
            "record that this one did, or promote another.",
            param="version",
        )


def check_generation(present: AliasRow | None, alias: str, generation: int | None) -> None:
    """None: the alias must not exist yet."""
    found = 0 if present is None or present.version_id is None else present.generation
    if generation is None and found:
        raise GenerationRequired(
            f"Alias {alias!r} exists: send its generation in If-Match (it is {found} now).", param="If-Match"
        )
    if generation is not None and generation != found:
        raise GenerationMismatch(
            f"Alias {alias!r} is of generation {found}, not {generation}: it moved since you looked. "
            "Read it and try again.",
            param="If-Match",
        )


def existing(rows: Rows, at: Pointer, generation: int | None = None) -> AliasRow:
    """The current alias; ``AliasNotFound`` if it does not exist. None is any generation."""
    present = rows.aliases.get(at.adapter_id, at.alias)
    if present is None or present.version_id is None:
        raise no_alias(at.tenant, at.name, at.alias)
    if generation is not None:
        check_generation(present, at.alias, generation)
    return present


def record_of(rows: Rows, at: Pointer) -> AliasRecord:
    aliases = rows.adapters.record(at.adapter_id).aliases
    return next(alias for alias in aliases if alias.alias == at.alias)


def no_alias(tenant: str, name: str, alias: str) -> AliasNotFound:
    return AliasNotFound(f"{tenant}/{name} has no alias {alias!r}.", param="alias")
