"""Rows of API keys. They are never deleted, so that a registry that once had a key never accepts requests without."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from adapters_registry.records import KeyGrant, Quotas, known_scopes
from adapters_registry.tables import audit, keys, tenants, utc

ROTATED = "key.rotate"


class KeyRows:
    """Queries of the table ``keys``, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection

    def exist(self) -> bool:
        """Whether any key was ever created."""
        return self._db.execute(sa.select(keys.c.id).limit(1)).first() is not None

    def get(self, id: str) -> KeyGrant | None:
        """The key in any state: valid, expired, revoked."""
        row = self._db.execute(_select().where(keys.c.id == id)).first()
        return None if row is None else _grant(row)

    def all(self, tenant: str | None = None) -> tuple[KeyGrant, ...]:
        """Oldest first, in any state; None is all keys, with and without a tenant."""
        query = _select() if tenant is None else _select().where(tenants.c.name == tenant)
        return tuple(map(_grant, self._db.execute(query)))

    def unrevoked(self) -> tuple[KeyGrant, ...]:
        """All that are not revoked, including expired ones: a gateway that receives no key at all requires none."""
        return tuple(map(_grant, self._db.execute(_select().where(keys.c.revoked_at.is_(None)))))

    def count(self, tenant_id: int | None = None) -> int:
        """Number of keys that are not revoked; None counts all keys, with and without a tenant."""
        query = sa.select(sa.func.count()).select_from(keys).where(keys.c.revoked_at.is_(None))
        if tenant_id is not None:
            query = query.where(keys.c.tenant_id == tenant_id)
        return int(self._db.execute(query).scalar_one())

    def was_rotated(self, id: str) -> bool:
        """Whether another key replaced it, according to the audit log."""
        query = sa.select(audit.c.seq).where(audit.c.action == ROTATED, audit.c.subject == id).limit(1)
        return self._db.execute(query).first() is not None

    def add(self, grant: KeyGrant, tenant_id: int | None) -> None:
        self._db.execute(
            keys.insert().values(
                id=grant.id,
                tenant_id=tenant_id,
                name=grant.name,
                scopes=" ".join(grant.scopes),
                quotas=grant.quotas.model_dump_json(exclude_none=True),
                secret_hash=grant.secret_hash,
                created_at=grant.created_at,
                expires_at=grant.expires_at,
                revoked_at=grant.revoked_at,
            )
        )

    def expire(self, id: str, at: datetime) -> None:
        self._db.execute(keys.update().where(keys.c.id == id).values(expires_at=at))

    def revoke(self, id: str, at: datetime) -> None:
        self._db.execute(keys.update().where(keys.c.id == id).values(revoked_at=at))


def _select() -> sa.Select[Any]:
    query = sa.select(keys, tenants.c.name.label("tenant"))
    return query.outerjoin(tenants, keys.c.tenant_id == tenants.c.id).order_by(keys.c.created_at, keys.c.id)


def _grant(row: Any) -> KeyGrant:
    return KeyGrant(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=known_scopes(row.scopes.split()),
        quotas=Quotas.model_validate_json(row.quotas),
        created_at=utc(row.created_at),
        expires_at=None if row.expires_at is None else utc(row.expires_at),
        revoked_at=None if row.revoked_at is None else utc(row.revoked_at),
        secret_hash=row.secret_hash,
    )
