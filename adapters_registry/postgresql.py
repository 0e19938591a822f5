"""Opens a PostgreSQL database: durable commits, bounded waits and connections, the schema of this release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from adapters_registry.database import migrate, translated
from adapters_registry.errors import StorageFailed

CONNECTIONS, FURTHER = 5, 10
"""Connections kept open, and further ones under load."""
_DEFAULTS: dict[str, int | str | None] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "quickchange-registry",
    "client_encoding": "utf8",
}
"""Defaults for libpq, unless the URL sets them: a server that disappeared is detected within about half a minute, and
error messages of a database that does not store UTF-8 can be read."""
# Times are read back in UTC whatever the server's zone. A server that acknowledges commits before they are on disk is
# set to wait, since an acknowledged commit must be durable; a stricter setting (remote_apply) is not changed.
_SESSION = """
SET TIME ZONE 'UTC';
SET statement_timeout = {statement_ms};
SET lock_timeout = {lock_ms};
SET idle_in_transaction_session_timeout = {idle_ms};
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """Longest waits; a request that waits longer is answered 429 or 503."""

    statement_s: float = 30.0
    lock_s: float = 10.0
    """For a writer of another process."""
    idle_s: float = 30.0
    """After this, a process that stopped within a transaction (frozen, disconnected) loses it and the writers'
    lock."""
    connection_s: float = 10.0
    """For one of this process' connections."""


def open_postgresql(url: str, waits: Waits = Waits()) -> sa.Engine:
    """An engine on the database at ``url`` (as libpq reads it, several hosts included), migrated.

    Raises ``StorageFailed`` if it cannot be reached, does not store UTF-8 or is of a later release.
    """
    session = _SESSION.format(
        statement_ms=round(waits.statement_s * 1000),
        lock_ms=round(waits.lock_s * 1000),
        idle_ms=round(waits.idle_s * 1000),
    )
    engine = sa.create_engine(
        "postgresql+psycopg://",
        connect_args=_parameters(url),
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=CONNECTIONS,
        max_overflow=FURTHER,
        pool_timeout=waits.connection_s,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.execute(session.encode())
        connection.commit()

    try:
        with translated():
            _check_encoding(engine)
            migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _parameters(url: str) -> dict[str, int | str | None]:
    try:
        return _DEFAULTS | conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without the cause: libpq's message may contain the password.
        raise StorageFailed("database_url is no PostgreSQL URL: postgresql://user:password@host:5432/name.") from None


def _check_encoding(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise StorageFailed(f"The database stores text as {encoding}: create one with ENCODING 'UTF8'.")
