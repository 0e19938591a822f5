"""Uploaded bytes: which tenant holds them, until when they are kept, and whether there is room for them."""

from __future__ import annotations

from datetime import timedelta

from adapters_registry.errors import BlobNotFound
from adapters_registry.quota import bytes_bound, check_bytes
from adapters_registry.rows import BlobRow, Rows
from adapters_registry.rows.blobs import ABANDONED_S
from adapters_registry.rows.values import now
from adapters_registry.verbs.base import Verbs


class UploadVerbs(Verbs):
    """``uploaded`` is called at the end of an upload (``blobs.intake.Finished``)."""

    def uploaded(self, tenant: str, digest: str, size: int) -> None:
        """The store has the bytes: keep them for the tenant until its lease ends.

        Raises ``BlobNotFound`` if the collector deletes or has deleted them meanwhile, so that they must be uploaded
        again. The lease is written before the store is checked: bytes that exist while the lease holds are not
        deleted.
        """
        with self.metadata.writing() as rows:
            tenant_id = rows.tenants.make(tenant)
            row = rows.blobs.get(digest)
            if row is not None and _is_condemned(row):
                raise _lost(digest)
            self._check_room(rows, tenant, tenant_id, digest, size)
            rows.blobs.put(digest, size)
            rows.blobs.lease(tenant_id, digest, now() + timedelta(seconds=self._limits.lease_s))
        if self.blobs.size(digest) != size:
            with self.metadata.writing() as rows:
                rows.blobs.end_leases(tenant_id, [digest])
            raise _lost(digest)

    def holds(self, tenant: str, digest: str) -> bool:
        """Whether the tenant recently uploaded the blob, or has a version that contains it."""
        with self.metadata.reading() as rows:
            tenant_id = rows.tenant_id(tenant)
            return tenant_id is not None and rows.blobs.held(tenant_id, digest)

    def sees(self, tenant: str, digest: str) -> bool:
        """Whether a version that the tenant may see contains the blob."""
        with self.metadata.reading() as rows:
            return rows.blobs.seen(tenant, digest)

    def check_room(self, tenant: str, digest: str, size: int) -> None:
        """``QuotaExceeded`` if the tenant may not hold ``size`` bytes more; checked before they are received."""
        with self.metadata.reading() as rows:
            tenant_id = rows.tenant_id(tenant)
            if tenant_id is not None:
                self._check_room(rows, tenant, tenant_id, digest, size)
            elif self._limits.tenant_bytes is not None:
                check_bytes(tenant, self._limits.tenant_bytes, 0, size)

    def _check_room(self, rows: Rows, tenant: str, tenant_id: int, digest: str, size: int) -> None:
        bound = bytes_bound(rows.tenants.bounds(tenant_id), self._limits)
        if bound is not None and not rows.blobs.held(tenant_id, digest):
            check_bytes(tenant, bound, rows.tenants.used_bytes(tenant_id), size)


def _is_condemned(row: BlobRow) -> bool:
    """An older condemnation was left by a collector that ended: then the check of the store decides."""
    return row.condemned_at is not None and row.condemned_at > now() - timedelta(seconds=ABANDONED_S)


def _lost(digest: str) -> BlobNotFound:
    return BlobNotFound(f"The bytes of {digest} were deleted meanwhile: send them again.", param="digest")
