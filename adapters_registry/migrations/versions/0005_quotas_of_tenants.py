"""Adds quotas to tenants."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tenants") as tenants:
        tenants.add_column(sa.Column("quotas", sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table("tenants") as tenants:
        tenants.drop_column("quotas")
