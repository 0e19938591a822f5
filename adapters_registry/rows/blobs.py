"""Blobs of the registry: which tenants hold them, until when, and which the collector has condemned.

A store has a blob's bytes; a row says that they exist:

             uploaded               not held, and the grace period is over
    (none) ───────────→ row, lease ──────────────────────────────────────────────→ condemned ──→ bytes gone ──→ (none)

A blob is held by the live versions that contain it and by leases. A hold is taken in a transaction that finds the
blob not condemned, and a blob is condemned only while it is not held: both run under the writers' lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from adapters_registry.rows.adapters import visible
from adapters_registry.rows.values import BlobRow, now, parts
from adapters_registry.tables import adapters, blobs, leases, tenants, utc, version_files, versions

ABANDONED_S = 300.0
"""Time after which a collector that condemned a blob has certainly deleted it or ended."""


class Grace(NamedTuple):
    """Times of one collection."""

    began: datetime
    """Blobs made or released later are kept."""
    ends: datetime
    """Now."""
    abandoned: datetime
    """A collector that condemned a blob before this ended without deleting it."""


class BlobRows:
    """Queries of blobs and of what holds them."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def get(self, digest: str) -> BlobRow | None:
        row = self._db.execute(sa.select(blobs).where(blobs.c.digest == digest)).first()
        if row is None:
            return None
        return BlobRow(row.size, None if row.condemned_at is None else utc(row.condemned_at))

    def put(self, digest: str, size: int) -> None:
        """Create its row, or mark it as not condemned."""
        values = {"size": size, "condemned_at": None}
        if self._db.execute(blobs.update().where(blobs.c.digest == digest).values(values)).rowcount == 0:
            self._db.execute(blobs.insert().values(digest=digest, created_at=now(), **values))

    def lease(self, tenant_id: int, digest: str, expires_at: datetime) -> None:
        """Create the lease, or extend it."""
        which = leases.c.tenant_id == tenant_id, leases.c.blob == digest
        if self._db.execute(leases.update().where(*which).values(expires_at=expires_at)).rowcount == 0:
            values = {"tenant_id": tenant_id, "blob": digest, "expires_at": expires_at}
            self._db.execute(leases.insert().values(values))

    def end_leases(self, tenant_id: int, digests: Collection[str]) -> None:
        self._db.execute(leases.delete().where(leases.c.tenant_id == tenant_id, leases.c.blob.in_(digests)))

    def held(self, tenant_id: int, digest: str) -> bool:
        """Whether the tenant has a lease of it, or a live version that contains it."""
        leased = sa.select(leases.c.blob).where(
            leases.c.tenant_id == tenant_id, leases.c.blob == digest, leases.c.expires_at > now()
        )
        if self._db.execute(leased).first() is not None:
            return True
        made = (
            sa.select(versions.c.id)
            .join(version_files, version_files.c.version_id == versions.c.id)
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .where(adapters.c.tenant_id == tenant_id, version_files.c.blob == digest, versions.c.deleted_at.is_(None))
            .limit(1)
        )
        return self._db.execute(made).first() is not None

    def seen(self, tenant: str, digest: str) -> bool:
        """Whether a live version that the tenant may see contains it."""
        made = (
            sa.select(versions.c.id)
            .join(version_files, version_files.c.version_id == versions.c.id)
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(version_files.c.blob == digest, versions.c.deleted_at.is_(None), visible(tenant))
            .limit(1)
        )
        return self._db.execute(made).first() is not None

    # Collection

    def unheld(self, grace: Grace) -> dict[str, int]:
        """Digests and sizes of blobs that were not held since the grace period began."""
        query = sa.select(blobs.c.digest, blobs.c.size).where(*_unheld(grace)).order_by(blobs.c.digest)
        return {row.digest: row.size for row in self._db.execute(query)}

    def leased_only(self, grace: Grace) -> int:
        """Number of blobs held by nothing but a lease."""
        which = _leased(grace.began), sa.not_(_made_of(grace.began))
        query = sa.select(sa.func.count()).select_from(blobs).where(*which)
        return int(self._db.execute(query).scalar_one())

    def condemn(self, sizes: Mapping[str, int], grace: Grace) -> dict[str, int]:
        """Condemn those of ``sizes`` that are still in ``unheld`` or have no row (they get one); returns them."""
        which = blobs.c.digest.in_(sizes), *_unheld(grace)
        found = {row.digest: row.size for row in self._db.execute(sa.select(blobs).where(*which))}
        self._db.execute(blobs.update().where(blobs.c.digest.in_(found)).values(condemned_at=grace.ends))
        for digest in self.unknown(sizes):
            values = {"size": sizes[digest], "created_at": grace.ends, "condemned_at": grace.ends}
            self._db.execute(blobs.insert().values(digest=digest, **values))
            found[digest] = sizes[digest]
        return found

    def forget(self, digests: Collection[str], condemned_at: datetime) -> None:
        """Delete rows of blobs whose bytes are deleted, unless another collector has condemned them again."""
        which = blobs.c.digest.in_(digests), blobs.c.condemned_at == condemned_at
        gone = list(self._db.execute(sa.select(blobs.c.digest).where(*which)).scalars())
        self._db.execute(version_files.delete().where(version_files.c.blob.in_(gone)))  # of deleted versions
        self._db.execute(leases.delete().where(leases.c.blob.in_(gone)))
        self._db.execute(blobs.delete().where(blobs.c.digest.in_(gone)))

    def unknown(self, digests: Collection[str]) -> set[str]:
        """Those without a row."""
        found: set[str] = set()
        for part in parts(sorted(digests)):
            found.update(self._db.execute(sa.select(blobs.c.digest).where(blobs.c.digest.in_(part))).scalars())
        return set(digests) - found


def _made_of(before: datetime) -> sa.Exists:
    """A version contains the blob, or did after ``before``."""
    return sa.exists().where(
        version_files.c.blob == blobs.c.digest,
        version_files.c.version_id == versions.c.id,
        sa.or_(versions.c.deleted_at.is_(None), versions.c.deleted_at > before),
    )


def _leased(before: datetime) -> sa.Exists:
    return sa.exists().where(leases.c.blob == blobs.c.digest, leases.c.expires_at > before)


def _unheld(grace: Grace) -> tuple[sa.ColumnElement[bool], ...]:
    condemned = sa.or_(blobs.c.condemned_at.is_(None), blobs.c.condemned_at <= grace.abandoned)
    held = sa.or_(_made_of(grace.began), _leased(grace.began))
    return blobs.c.created_at <= grace.began, condemned, sa.not_(held)
