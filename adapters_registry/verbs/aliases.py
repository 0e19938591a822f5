"""Aliases: resolved, moved by compare-and-set, rolled back, protected."""

from __future__ import annotations

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.errors import InvalidValue, NoPreviousVersion
from adapters_registry.history import MoveKind, previous
from adapters_registry.names import PRODUCTION, check_alias
from adapters_registry.pointing import (
    Pointer,
    check_generation,
    check_protection,
    existing,
    no_alias,
    point,
    record_of,
)
from adapters_registry.records import AliasRecord
from adapters_registry.rows import Change
from adapters_registry.verbs.base import Verbs, adapter_id, live_version


class AliasVerbs(Verbs):
    """Verbs of aliases, which name the live version."""

    def resolve(self, tenant: str, name: str, alias: str = PRODUCTION, visible_to: str | None = None) -> AliasRecord:
        """The alias of an adapter that ``visible_to`` may see; None sees all."""
        with self.metadata.reading() as rows:
            record = rows.adapters.record(adapter_id(rows, tenant, name, visible_to))
        found = next((a for a in record.aliases if a.alias == alias), None)
        if found is None:
            raise no_alias(tenant, name, alias)
        return found

    def move_alias(
        self,
        tenant: str,
        name: str,
        alias: str,
        version: int | str,
        generation: int | None,
        by: Principal = ANONYMOUS,
    ) -> AliasRecord:
        """Point ``alias`` at a version (number or digest) if its generation is still ``generation``; 0: if it is
        absent.

        None creates it, and raises ``GenerationRequired`` if the alias exists.
        """
        check_alias(alias)
        with self._changing() as rows:
            at = Pointer(tenant, name, adapter_id(rows, tenant, name), alias)
            target = live_version(rows, tenant, name, at.adapter_id, version)
            check_generation(rows.aliases.get(at.adapter_id, alias), alias, generation)
            point(rows, at, target.id, MoveKind.SET, by)
            return record_of(rows, at)

    def rollback(
        self,
        tenant: str,
        name: str,
        alias: str = PRODUCTION,
        generation: int | None = None,
        by: Principal = ANONYMOUS,
    ) -> AliasRecord:
        """Point ``alias`` at the version it pointed at before; repeated, at the one before that."""
        with self._changing() as rows:
            at = Pointer(tenant, name, adapter_id(rows, tenant, name), alias)
            check_protection(rows, at, existing(rows, at, generation), None, by)
            live = frozenset(rows.versions.live(at.adapter_id))
            target = previous(rows.aliases.moves(at.adapter_id, alias), live)
            if target is None:
                raise NoPreviousVersion(
                    f"Alias {alias!r} of {tenant}/{name} has no earlier version to go back to: "
                    "promote one by its number.",
                    param="alias",
                )
            point(rows, at, target, MoveKind.ROLLBACK, by)
            return record_of(rows, at)

    def delete_alias(
        self, tenant: str, name: str, alias: str, generation: int | None = None, by: Principal = ANONYMOUS
    ) -> None:
        """Remove the alias. A protected one is protected again if it is created again."""
        with self._changing() as rows:
            at = Pointer(tenant, name, adapter_id(rows, tenant, name), alias)
            existing(rows, at, generation)
            point(rows, at, None, MoveKind.DELETE, by)

    def protect_alias(
        self,
        tenant: str,
        name: str,
        alias: str,
        protected: bool,
        requires: str | None = None,
        by: Principal = ANONYMOUS,
    ) -> AliasRecord:
        """From now on it moves with the scope ``alias:write`` only, and only to versions that passed ``requires``."""
        if requires is not None and not protected:
            raise InvalidValue("requires: only a protected alias can require an evaluation.", param="requires")
        with self._changing() as rows:
            at = Pointer(tenant, name, adapter_id(rows, tenant, name), alias)
            present = existing(rows, at)
            check_protection(rows, at, present, None, by)
            if (present.protected, present.requires) != (protected, requires):
                rows.aliases.protect(at.adapter_id, alias, protected, requires)
                detail = {"protected": protected, "requires": requires}
                change = Change("alias.protect", str(at), at.adapter_id, alias, present.version_id, detail)
                rows.record(change, actor=by.id)
            return record_of(rows, at)
