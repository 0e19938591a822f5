"""Opens the SQLite database, and code for both databases: migration to the newest schema, translation of errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from adapters_registry.errors import InvalidValue, Overloaded, RegistryError, StorageFailed, StorageFull, StoreOwned
from adapters_registry.support.lock import FileLock, Held

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 30
_MIGRATING = 0x71636D6967726174
"""Number of the advisory lock for migrations of a PostgreSQL database."""
_MIGRATION_S = 600
_PASSING = (OperationalError, InterfaceError, InternalError)
"""Lost or refused connections, timeouts, deadlocks, failed disks, read-only servers: not caused by the caller."""
_FULL = {"SQLITE_FULL", "53100"}
_OURS = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "42501"}
"""Further codes that are not caused by the caller; 42501: the database's user lacks a permission."""


class OwnerLock:
    """The data directory's lock: held by one process until it ends in any way."""

    def __init__(self, directory: Path) -> None:
        path = directory / "registry.lock"
        try:
            self._lock = FileLock(path)
        except Held:
            owner = path.read_text().strip() or "unknown"
            raise StoreOwned(
                f"Another registry (process {owner}) already uses {directory}: "
                "stop it, or give this one another --data-dir."
            ) from None
        path.write_text(str(os.getpid()))

    def release(self) -> None:
        self._lock.release()


def open_sqlite(path: Path) -> sa.Engine:
    """An engine on the file at ``path``, migrated. WAL is not used: the bundled SQLite may corrupt it on reset."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_S})
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    try:
        with translated():
            migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to the newest revision; refuses a database of a later release."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            _migrate_alone(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageFailed(
                f"The registry's database is not of this release ({error}): start the release that wrote it."
            ) from error


def _migrate_alone(connection: sa.Connection) -> None:
    """If several processes start at once, the first migrates and the others find it done."""
    for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {setting} = '{_MIGRATION_S}s'")
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))


def for_reading(engine: sa.Engine) -> sa.Engine:
    """The engine for transactions that see one state of the database, from the first query to the last.

    In SQLite all transactions do. In PostgreSQL these use REPEATABLE READ; writing transactions must not, since they
    would see the state from before they waited for the lock.
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late, and not for reads
    for pragma in ("journal_mode=TRUNCATE", "synchronous=EXTRA", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Translates the database's failures to registry errors. A violated constraint is a defect: not translated."""
    try:
        yield
    except NoConnection as error:
        raise Overloaded("All connections to the registry's database are in use.", retry_after_s=1) from error
    except DBAPIError as error:
        ours = _storage_error(error)
        if ours is None:
            raise
        raise ours from error


def _storage_error(error: DBAPIError) -> RegistryError | None:
    original: Any = error.orig
    name = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    text = (str(original).splitlines() or [type(original).__name__])[0]
    if name in _FULL:
        return StorageFull("The registry's disk is full: free space, then repeat the request.", retry_after_s=30)
    if isinstance(error, _PASSING) or name in _OURS:
        return StorageFailed(
            f"The registry's database failed ({text}): see its log, then repeat the request.", retry_after_s=5
        )
    if isinstance(error, DataError):
        return InvalidValue(f"The registry's database cannot hold a value of this request ({text}).")
    return None
