"""Time that passes for what a registry's database holds."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from adapters_registry import tables

_MOMENTS = (
    (tables.blobs, "created_at"),
    (tables.blobs, "condemned_at"),
    (tables.leases, "expires_at"),
    (tables.versions, "created_at"),
    (tables.versions, "deleted_at"),
)


def pass_time(engine: sa.Engine, seconds: float) -> None:
    """All moments that retention and collection look at are so much longer ago."""
    with engine.begin() as connection:
        for table, column in _MOMENTS:
            key = list(table.primary_key.columns)
            for row in connection.execute(sa.select(*key, table.c[column]).where(table.c[column].is_not(None))).all():
                which = [part == value for part, value in zip(key, row, strict=False)]
                moment = row[-1] - timedelta(seconds=seconds)
                connection.execute(table.update().where(*which).values({column: moment}))
