"""PostgreSQL orders names by bytes, as SQLite does, so that no index depends on the system's collations."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAMES = (
    ("tenants", "name", 63),
    ("adapters", "name", 63),
    ("aliases", "alias", 63),
    ("shares", "grantee", 63),
    ("evaluations", "name", 63),
    ("version_files", "path", 128),
)


def upgrade() -> None:
    _collate("C")


def downgrade() -> None:
    _collate("default")


def _collate(collation: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column, length in NAMES:
            op.alter_column(table, column, type_=sa.String(length, collation=collation))
