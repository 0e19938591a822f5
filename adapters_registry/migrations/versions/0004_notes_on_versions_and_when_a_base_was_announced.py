"""Adds the check's notes to versions, and the time of the last announcement to bases."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("versions") as versions:
        versions.add_column(sa.Column("notes", sa.Text()))
    with op.batch_alter_table("bases") as bases:
        bases.add_column(sa.Column("announced_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    with op.batch_alter_table("bases") as bases:
        bases.drop_column("announced_at")
    with op.batch_alter_table("versions") as versions:
        versions.drop_column("notes")
