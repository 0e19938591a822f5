"""Opens a PostgreSQL database: durable commits, bounded waits and connections, the schema of this release."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters_registry.database import migrate, translated
from adapters_registry.errors import StorageFailed

STATEMENT_S = 30.0
LOCK_S = 10.0
"""What a writer waits for another process' writer before it answers 503."""
IDLE_S = 30.0
"""A process that stops within a transaction (frozen, cut off) loses it, and with it the writers' lock."""
CONNECTIONS, FURTHER, CONNECTION_S = 5, 10, 10
"""Kept open, opened besides under load, and how long a request waits for one."""
_LIVENESS = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "quickchange-registry",
}
"""For libpq, where the URL says nothing else: a server that vanished is noticed within about half a minute."""
# Times are read back in UTC whatever the server's zone. A server that acknowledges before its disk does is told to
# wait: what we acknowledge is durable; a stricter setting (remote_apply) stays.
_SESSION = """
SET TIME ZONE 'UTC';
SET statement_timeout = {statement_ms};
SET lock_timeout = {lock_ms};
SET idle_in_transaction_session_timeout = {idle_ms};
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


def open_postgresql(
    url: str, *, statement_s: float = STATEMENT_S, lock_s: float = LOCK_S, idle_s: float = IDLE_S
) -> sa.Engine:
    """An engine on the database at ``url`` (as libpq reads it, several hosts included), migrated.

    Raises ``StorageFailed`` if it cannot be reached, does not store UTF-8 or is of a later release.
    """
    session = _SESSION.format(
        statement_ms=_milliseconds(statement_s), lock_ms=_milliseconds(lock_s), idle_ms=_milliseconds(idle_s)
    )
    engine = sa.create_engine(
        "postgresql+psycopg://",
        connect_args={"conninfo": _conninfo(url)},
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=CONNECTIONS,
        max_overflow=FURTHER,
        pool_timeout=CONNECTION_S,
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


def _conninfo(url: str) -> str:
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without the cause: libpq's message may quote the password.
        raise StorageFailed("database_url is no PostgreSQL URL: postgresql://user:password@host:5432/name.") from None
    return make_conninfo(url, **{key: value for key, value in _LIVENESS.items() if key not in given})


def _check_encoding(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise StorageFailed(f"The database stores text as {encoding}: create one with ENCODING 'UTF8'.")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
