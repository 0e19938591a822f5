"""Adds the announced capabilities to bases."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("bases") as bases:
        bases.add_column(sa.Column("announcements", sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table("bases") as bases:
        bases.drop_column("announcements")
