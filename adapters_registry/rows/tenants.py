"""Tenants: their limits and their usage."""

from __future__ import annotations

import json
from datetime import datetime

import sqlalchemy as sa

from adapters_registry.records import Quotas, TenantBounds, TenantQuotas, TenantRecord
from adapters_registry.rows.values import inserted_id, now
from adapters_registry.tables import adapters, blobs, leases, tenants, utc, version_files, versions


class TenantRows:
    """Queries of tenants, which own adapters."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def id(self, name: str) -> int | None:
        found = self._db.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar()
        return None if found is None else int(found)

    def make(self, name: str) -> int:
        """Id of its row, which is created if there is none."""
        found = self.id(name)
        if found is not None:
            return found
        return inserted_id(self._db.execute(tenants.insert().values(name=name, created_at=now())))

    def bound(self, tenant_id: int, bounds: TenantBounds) -> None:
        values = bounds.model_dump(exclude=set(Quotas.model_fields))
        quotas = bounds.model_dump_json(include=set(Quotas.model_fields), exclude_none=True)
        self._db.execute(tenants.update().where(tenants.c.id == tenant_id).values(**values, quotas=quotas))

    def bounds(self, tenant_id: int) -> TenantBounds:
        row = self._db.execute(sa.select(tenants).where(tenants.c.id == tenant_id)).one()
        return _bounds(row)

    def all_bounds(self) -> dict[int, TenantBounds]:
        """By id."""
        return {row.id: _bounds(row) for row in self._db.execute(sa.select(tenants))}

    def quotas(self) -> tuple[TenantQuotas, ...]:
        """Of tenants that have quotas, by name."""
        query = sa.select(tenants.c.name, tenants.c.quotas).where(
            tenants.c.quotas.is_not(None), tenants.c.quotas != "{}"
        )
        found = self._db.execute(query.order_by(tenants.c.name))
        return tuple(TenantQuotas(name=row.name, **json.loads(row.quotas)) for row in found)

    def records(self, name: str | None = None) -> tuple[TenantRecord, ...]:
        """By name, with the usage of each; None is all."""
        query = sa.select(tenants).order_by(tenants.c.name)
        if name is not None:
            query = query.where(tenants.c.name == name)
        found = self._db.execute(query).all()
        only = found[0].id if name is not None and found else None
        used_bytes, used_versions = self._bytes(only), self._versions(only)
        return tuple(
            TenantRecord(
                name=row.name,
                created_at=utc(row.created_at),
                used_bytes=used_bytes.get(row.id, 0),
                used_versions=used_versions.get(row.id, 0),
                **_bounds(row).model_dump(),
            )
            for row in found
        )

    def used_bytes(self, tenant_id: int) -> int:
        """Bytes of its live versions and its leases; equal blobs are counted once."""
        return self._bytes(tenant_id).get(tenant_id, 0)

    def used_versions(self, tenant_id: int) -> int:
        """Number of live versions."""
        return self._versions(tenant_id).get(tenant_id, 0)

    def _bytes(self, tenant_id: int | None) -> dict[int, int]:
        held = holdings(now()).subquery()
        query = sa.select(held.c.tenant_id, sa.func.sum(blobs.c.size)).join(blobs, held.c.blob == blobs.c.digest)
        query = query.group_by(held.c.tenant_id)
        if tenant_id is not None:
            query = query.where(held.c.tenant_id == tenant_id)
        return {row[0]: int(row[1]) for row in self._db.execute(query)}

    def _versions(self, tenant_id: int | None) -> dict[int, int]:
        query = sa.select(adapters.c.tenant_id, sa.func.count()).group_by(adapters.c.tenant_id)
        query = query.join(versions, versions.c.adapter_id == adapters.c.id).where(versions.c.deleted_at.is_(None))
        if tenant_id is not None:
            query = query.where(adapters.c.tenant_id == tenant_id)
        return {row[0]: int(row[1]) for row in self._db.execute(query)}


def holdings(at: datetime) -> sa.CompoundSelect[tuple[int, str]]:
    """(tenant_id, blob), each once: blobs of live versions, and those recently uploaded."""
    made = (
        sa.select(adapters.c.tenant_id, version_files.c.blob)
        .join(versions, versions.c.adapter_id == adapters.c.id)
        .join(version_files, version_files.c.version_id == versions.c.id)
        .where(versions.c.deleted_at.is_(None))
    )
    leased = sa.select(leases.c.tenant_id, leases.c.blob).where(leases.c.expires_at > at)
    return sa.union(made, leased)


def _bounds(row: sa.Row[tuple[object, ...]]) -> TenantBounds:
    return TenantBounds(
        max_bytes=row.max_bytes,
        max_versions=row.max_versions,
        keep_versions=row.keep_versions,
        keep_days=row.keep_days,
        **json.loads(row.quotas or "{}"),
    )
