"""Adapters, the tenants they are shared with, and their current records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from adapters_registry.records import ALL_TENANTS, AdapterRecord, AliasRecord, VersionRecord
from adapters_registry.rows.values import RECORD, AdapterRow, inserted_id, now, parts, version_record
from adapters_registry.tables import adapters, aliases, shares, tenants, utc, versions


class AdapterRows:
    """Queries of adapters, which group versions and aliases under a name."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def get(self, tenant: str, name: str, visible_to: str | None = None) -> AdapterRow | None:
        """An adapter that ``visible_to`` owns or was granted; None sees all."""
        query = (
            sa.select(adapters.c.id, adapters.c.tenant_id, adapters.c.deleted_at)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(tenants.c.name == tenant, adapters.c.name == name)
        )
        if visible_to is not None:
            query = query.where(visible(visible_to))
        row = self._db.execute(query).first()
        return None if row is None else AdapterRow(row.id, row.tenant_id, row.deleted_at is not None)

    def named(self, name: str, most: int = 20) -> tuple[str, ...]:
        """The first live adapters that ``name`` may mean in a request, with or without its tenant."""
        tenant, _, adapter = name.rpartition("/")
        query = (
            sa.select(tenants.c.name, adapters.c.name)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(adapters.c.name == adapter, adapters.c.deleted_at.is_(None))
            .order_by(tenants.c.name)
            .limit(most)
        )
        if tenant:
            query = query.where(tenants.c.name == tenant)
        return tuple(f"{owner}/{found}" for owner, found in self._db.execute(query))

    def add(self, tenant_id: int, name: str) -> int:
        values = {"tenant_id": tenant_id, "name": name, "next_number": 1, "created_at": now()}
        return inserted_id(self._db.execute(adapters.insert().values(values)))

    def revive(self, adapter_id: int) -> None:
        self._db.execute(
            adapters.update().where(adapters.c.id == adapter_id).values(deleted_at=None, created_at=now())
        )

    def delete(self, adapter_id: int) -> None:
        """With its versions, aliases and shares; its numbers and generations are never used again."""
        moment = now()
        self._db.execute(adapters.update().where(adapters.c.id == adapter_id).values(deleted_at=moment))
        self._db.execute(
            versions.update()
            .where(versions.c.adapter_id == adapter_id, versions.c.deleted_at.is_(None))
            .values(deleted_at=moment)
        )
        mine = aliases.update().where(aliases.c.adapter_id == adapter_id)
        self._db.execute(
            mine.where(aliases.c.version_id.is_not(None)).values(version_id=None, generation=aliases.c.generation + 1)
        )
        self._db.execute(mine.values(protected=False, requires=None))
        self._db.execute(shares.delete().where(shares.c.adapter_id == adapter_id))

    def grant(self, adapter_id: int, grantee: str, shared: bool) -> bool:
        """Share it with ``grantee``, or stop sharing; returns whether that changed anything."""
        which = shares.c.adapter_id == adapter_id, shares.c.grantee == grantee
        if (self._db.execute(sa.select(shares.c.grantee).where(*which)).first() is not None) == shared:
            return False
        values = {"adapter_id": adapter_id, "grantee": grantee}
        self._db.execute(shares.insert().values(values) if shared else shares.delete().where(*which))
        return True

    def page(
        self, tenant: str | None, after: tuple[str, str], limit: int, visible_to: str | None = None
    ) -> list[int]:
        """Ids of live adapters after (tenant, name), in that order."""
        query = (
            sa.select(adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(
                adapters.c.deleted_at.is_(None),
                sa.or_(
                    tenants.c.name > after[0],
                    sa.and_(tenants.c.name == after[0], adapters.c.name > after[1]),
                ),
            )
            .order_by(tenants.c.name, adapters.c.name)
            .limit(limit)
        )
        if tenant is not None:
            query = query.where(tenants.c.name == tenant)
        if visible_to is not None:
            query = query.where(visible(visible_to))
        return list(self._db.execute(query).scalars())

    def records(self, ids: Collection[int] | None = None) -> tuple[AdapterRecord, ...]:
        """Adapters with live versions and aliases, by tenant and name; None is all that are not deleted."""
        if ids is None:
            return self._records(None)
        found = [record for part in parts(sorted(ids)) for record in self._records(part)]
        return tuple(sorted(found, key=lambda record: (record.tenant, record.name)))

    def record(self, adapter_id: int) -> AdapterRecord:
        """The adapter's current record."""
        (record,) = self._records([adapter_id])
        return record

    def _records(self, ids: Sequence[int] | None) -> tuple[AdapterRecord, ...]:
        heads = sa.select(adapters.c.id, tenants.c.name.label("tenant"), adapters.c.name, adapters.c.created_at)
        heads = heads.join(tenants, adapters.c.tenant_id == tenants.c.id).order_by(tenants.c.name, adapters.c.name)
        heads = heads.where(adapters.c.deleted_at.is_(None) if ids is None else adapters.c.id.in_(ids))
        versions_of, aliases_of, grantees_of = self._versions(ids), self._aliases(ids), self._grantees(ids)
        return tuple(
            AdapterRecord(
                tenant=row.tenant,
                name=row.name,
                created_at=utc(row.created_at),
                versions=tuple(versions_of[row.id]),
                aliases=tuple(aliases_of[row.id]),
                shared_with=tuple(grantees_of[row.id]),
            )
            for row in self._db.execute(heads)
        )

    def _versions(self, ids: Sequence[int] | None) -> dict[int, list[VersionRecord]]:
        live = sa.select(versions.c.adapter_id, *RECORD).where(versions.c.deleted_at.is_(None))
        live = live.order_by(versions.c.number)
        if ids is not None:
            live = live.where(versions.c.adapter_id.in_(ids))
        found: dict[int, list[VersionRecord]] = defaultdict(list)
        for row in self._db.execute(live):
            found[row.adapter_id].append(version_record(row))
        return found

    def _aliases(self, ids: Sequence[int] | None) -> dict[int, list[AliasRecord]]:
        pointers = sa.select(aliases, versions.c.number, versions.c.digest)
        pointers = pointers.join(versions, aliases.c.version_id == versions.c.id).order_by(aliases.c.alias)
        if ids is not None:
            pointers = pointers.where(aliases.c.adapter_id.in_(ids))
        found: dict[int, list[AliasRecord]] = defaultdict(list)
        for row in self._db.execute(pointers):
            found[row.adapter_id].append(
                AliasRecord(
                    alias=row.alias,
                    version=row.number,
                    digest=row.digest,
                    generation=row.generation,
                    protected=row.protected,
                    requires=row.requires,
                )
            )
        return found

    def _grantees(self, ids: Sequence[int] | None) -> dict[int, list[str]]:
        granted = sa.select(shares).order_by(shares.c.grantee)
        if ids is not None:
            granted = granted.where(shares.c.adapter_id.in_(ids))
        found: dict[int, list[str]] = defaultdict(list)
        for row in self._db.execute(granted):
            found[row.adapter_id].append(row.grantee)
        return found


def visible(tenant: str) -> sa.ColumnElement[bool]:
    """On ``adapters`` joined with ``tenants``: the rows that ``tenant`` owns or that are shared with it."""
    granted = sa.select(shares.c.adapter_id).where(shares.c.grantee.in_([tenant, ALL_TENANTS]))
    return sa.or_(tenants.c.name == tenant, adapters.c.id.in_(granted))
