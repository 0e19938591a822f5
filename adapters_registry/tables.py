"""The schema, for SQLite and PostgreSQL alike.

tenants ─< adapters ─< versions ─< version_files >─ blobs
   │           │           ├────── bases
   │           │           └─< evaluations
   ├─< aliases (a mutable pointer at a version; NULL once deleted, so that generations continue)
   │           └─< shares (other tenants that may use it)
   ├─< keys
   └─< leases (bytes that the tenant uploaded, kept until they expire even if no version contains them)
audit: one row per change, append-only, each chained to the one before by its digest; its ``seq`` is the change feed
feed:  one row, the last ``seq`` and the audit's last digest; locking it first puts changes in commit order
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

Moment = sa.DateTime(timezone=True)

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

feed = sa.Table(
    "feed",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("head", sa.String(71), nullable=False),
)

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("max_bytes", sa.BigInteger),
    sa.Column("max_versions", sa.Integer),
    sa.Column("keep_versions", sa.Integer),
    sa.Column("keep_days", sa.Integer),
    sa.Column("quotas", sa.Text),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id")),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("quotas", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("revoked_at", Moment),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("blob", sa.ForeignKey("blobs.digest"), primary_key=True),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("ix_leases_blob", "blob"),
)

bases = sa.Table(
    "bases",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("name", sa.String(512), nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("announced_seq", sa.BigInteger, nullable=False),
    sa.Column("announced_at", Moment),
    sa.Column("announcements", sa.Text),
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("condemned_at", Moment),
)

adapters = sa.Table(
    "adapters",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("next_number", sa.Integer, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("deleted_at", Moment),
    sa.UniqueConstraint("tenant_id", "name"),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("adapter_id", sa.ForeignKey("adapters.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(71), nullable=False, index=True),
    sa.Column("base", sa.ForeignKey("bases.digest"), nullable=False),
    sa.Column("kind", sa.String(63), nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("lineage", sa.Text, nullable=False),
    sa.Column("parent", sa.String(71), index=True),
    sa.Column("norms", sa.Text),
    sa.Column("notes", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("deleted_at", Moment),
    sa.UniqueConstraint("adapter_id", "number"),
)

version_files = sa.Table(
    "version_files",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("path", sa.String(128), primary_key=True),
    sa.Column("blob", sa.ForeignKey("blobs.digest"), nullable=False, index=True),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("adapter_id", sa.ForeignKey("adapters.id"), primary_key=True),
    sa.Column("alias", sa.String(63), primary_key=True),
    sa.Column("version_id", sa.ForeignKey("versions.id")),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("requires", sa.String(63)),
)

shares = sa.Table(
    "shares",
    metadata,
    sa.Column("adapter_id", sa.ForeignKey("adapters.id"), primary_key=True),
    sa.Column("grantee", sa.String(63), primary_key=True),
)

evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.String(128), nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.String(128), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("adapter_id", sa.ForeignKey("adapters.id"), index=True),
    sa.Column("alias", sa.String(63)),
    sa.Column("version_id", sa.ForeignKey("versions.id")),
    sa.Column("subject", sa.String(512), nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("prev", sa.String(71), nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
)


def utc(moment: datetime) -> datetime:
    """SQLite does not store the zone; all stored times are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
