"""Adds keys, shares, leases, evaluations, protected aliases, tenants' limits, and a chained audit log."""

import json
import re

import sqlalchemy as sa
from alembic import op

from adapters_registry.chain import GENESIS, link

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("tenants") as tenants:
        tenants.add_column(sa.Column("max_bytes", sa.BigInteger()))
        tenants.add_column(sa.Column("max_versions", sa.Integer()))
        tenants.add_column(sa.Column("keep_versions", sa.Integer()))
        tenants.add_column(sa.Column("keep_days", sa.Integer()))
    with op.batch_alter_table("aliases") as aliases:
        aliases.add_column(sa.Column("protected", sa.Boolean(), nullable=False, server_default=sa.false()))
        aliases.add_column(sa.Column("requires", sa.String(63)))
    with op.batch_alter_table("blobs") as blobs:
        blobs.add_column(sa.Column("condemned_at", MOMENT))
    with op.batch_alter_table("versions") as versions:
        versions.add_column(sa.Column("norms", sa.Text()))
        versions.add_column(sa.Column("parent", sa.String(71)))
    op.create_index(op.f("ix_versions_parent"), "versions", ["parent"])
    _name_parents()
    _make_tables()
    _chain_the_audit()


def _name_parents() -> None:
    """Fills ``parent`` from the lineages whose parent is a digest."""
    rows = sa.table("versions", *(sa.column(name) for name in ("id", "lineage", "parent")))
    connection = op.get_bind()
    for row in connection.execute(sa.select(rows.c.id, rows.c.lineage)).all():
        parent = json.loads(row.lineage).get("parent")
        if isinstance(parent, str) and re.fullmatch("sha256:[0-9a-f]{64}", parent):
            connection.execute(rows.update().where(rows.c.id == row.id).values(parent=parent))


def _make_tables() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("quotas", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_keys_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_table(
        "leases",
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("blob", sa.String(71), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_leases_tenant_id")),
        sa.ForeignKeyConstraint(["blob"], ["blobs.digest"], name=op.f("fk_leases_blob")),
        sa.PrimaryKeyConstraint("tenant_id", "blob", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_blob"), "leases", ["blob"])
    op.create_table(
        "shares",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("grantee", sa.String(63), nullable=False),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_shares_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", "grantee", name=op.f("pk_shares")),
    )
    op.create_table(
        "evaluations",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_evaluations_version_id")),
        sa.PrimaryKeyConstraint("version_id", "name", name=op.f("pk_evaluations")),
    )


def _chain_the_audit() -> None:
    """Chains the existing rows unchanged."""
    with op.batch_alter_table("audit") as audit:
        audit.add_column(sa.Column("detail", sa.Text()))
        audit.add_column(sa.Column("prev", sa.String(71), nullable=False, server_default=""))
        audit.add_column(sa.Column("digest", sa.String(71), nullable=False, server_default=""))
    with op.batch_alter_table("feed") as feed:
        feed.add_column(sa.Column("head", sa.String(71), nullable=False, server_default=GENESIS))
    rows = sa.table(
        "audit",
        sa.column("seq", sa.BigInteger),
        sa.column("at", MOMENT),
        *(sa.column(name) for name in ("actor", "action", "subject", "alias", "detail", "prev", "digest")),
    )
    connection, prev = op.get_bind(), GENESIS
    for row in connection.execute(sa.select(rows).order_by(rows.c.seq)).all():
        digest = link(prev, row.seq, row.at, row.actor, row.action, row.subject, row.alias, row.detail)
        connection.execute(rows.update().where(rows.c.seq == row.seq).values(prev=prev, digest=digest))
        prev = digest
    connection.execute(sa.table("feed", sa.column("head")).update().values(head=prev))
    for table, columns in (("audit", ("prev", "digest")), ("feed", ("head",))):
        with op.batch_alter_table(table) as altered:
            for column in columns:
                altered.alter_column(column, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("feed") as feed:
        feed.drop_column("head")
    with op.batch_alter_table("audit") as audit:
        for column in ("digest", "prev", "detail"):
            audit.drop_column(column)
    for table in ("evaluations", "shares", "leases", "keys"):
        op.drop_table(table)
    op.drop_index(op.f("ix_versions_parent"), "versions")
    with op.batch_alter_table("versions") as versions:
        versions.drop_column("parent")
        versions.drop_column("norms")
    with op.batch_alter_table("blobs") as blobs:
        blobs.drop_column("condemned_at")
    with op.batch_alter_table("aliases") as aliases:
        for column in ("requires", "protected"):
            aliases.drop_column(column)
    with op.batch_alter_table("tenants") as tenants:
        for column in ("keep_days", "keep_versions", "max_versions", "max_bytes"):
            tenants.drop_column(column)
