"""The named queries of one transaction, one file per family of rows."""

from __future__ import annotations

import sqlalchemy as sa

from adapters_registry.rows.adapters import AdapterRows
from adapters_registry.rows.aliases import AliasRows
from adapters_registry.rows.bases import BaseRows
from adapters_registry.rows.blobs import BlobRows
from adapters_registry.rows.feed import FeedRows
from adapters_registry.rows.keys import KeyRows
from adapters_registry.rows.tenants import TenantRows
from adapters_registry.rows.values import AdapterRow, AliasRow, BlobRow, Candidate, Change, VersionRow
from adapters_registry.rows.versions import VersionRows

__all__ = ["AdapterRow", "AliasRow", "BlobRow", "Candidate", "Change", "Rows", "VersionRow"]


class Rows:
    """All families on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self.feed = FeedRows(connection)
        self.tenants = TenantRows(connection)
        self.keys = KeyRows(connection)
        self.bases = BaseRows(connection)
        self.adapters = AdapterRows(connection)
        self.versions = VersionRows(connection)
        self.aliases = AliasRows(connection)
        self.blobs = BlobRows(connection)

    def record(self, change: Change, *, actor: str = "anonymous") -> int:
        """Add ``change`` to the audit log; returns its seq."""
        return self.feed.record(change, actor)

    def tenant_id(self, name: str, *, create: bool = False) -> int | None:
        """Id of the tenant's row, created if ``create``; None if there is none."""
        return self.tenants.make(name) if create else self.tenants.id(name)
