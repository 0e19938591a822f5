"""Aliases: where they point, who may move them, and their earlier targets."""

from __future__ import annotations

import sqlalchemy as sa

from adapters_registry.history import Move, MoveKind
from adapters_registry.rows.values import AliasRow
from adapters_registry.tables import aliases, audit


class AliasRows:
    """The mutable pointers."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def get(self, adapter_id: int, alias: str) -> AliasRow | None:
        row = self._db.execute(sa.select(aliases).where(*_at(adapter_id, alias))).first()
        return None if row is None else AliasRow(row.version_id, row.generation, row.protected, row.requires)

    def add(self, adapter_id: int, alias: str, version_id: int) -> None:
        values = {"adapter_id": adapter_id, "alias": alias, "version_id": version_id, "generation": 1}
        self._db.execute(aliases.insert().values(values))

    def point(self, adapter_id: int, alias: str, version_id: int | None, generation: int) -> bool:
        """Move it if its generation is still ``generation``; returns whether it was."""
        moved = self._db.execute(
            aliases.update()
            .where(*_at(adapter_id, alias), aliases.c.generation == generation)
            .values(version_id=version_id, generation=generation + 1)
        )
        return moved.rowcount == 1

    def protect(self, adapter_id: int, alias: str, protected: bool, requires: str | None) -> None:
        values = {"protected": protected, "requires": requires}
        self._db.execute(aliases.update().where(*_at(adapter_id, alias)).values(values))

    def at(self, version_id: int) -> list[str]:
        """The aliases that point at a version."""
        query = sa.select(aliases.c.alias).where(aliases.c.version_id == version_id).order_by(aliases.c.alias)
        return list(self._db.execute(query).scalars())

    def pointing(self) -> list[tuple[int, str, int]]:
        """(adapter, alias, version) of every alias that points at a version."""
        query = sa.select(aliases.c.adapter_id, aliases.c.alias, aliases.c.version_id)
        found = self._db.execute(query.where(aliases.c.version_id.is_not(None)))
        return [(row.adapter_id, row.alias, row.version_id) for row in found]

    def moves(self, adapter_id: int, alias: str) -> list[Move]:
        """The alias' history, oldest first."""
        query = (
            sa.select(audit.c.action, audit.c.version_id)
            .where(
                audit.c.adapter_id == adapter_id,
                audit.c.alias == alias,
                audit.c.action.in_([kind.value for kind in MoveKind]),
            )
            .order_by(audit.c.seq)
        )
        return [Move(MoveKind(row.action), row.version_id) for row in self._db.execute(query)]


def _at(adapter_id: int, alias: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return aliases.c.adapter_id == adapter_id, aliases.c.alias == alias
