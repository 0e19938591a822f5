"""Opens the database: one process owns it, every commit is durable, the schema is migrated to this release's."""

from __future__ import annotations

import fcntl
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
from sqlalchemy.exc import DBAPIError

from adapters_registry.errors import RegistryError, StorageFailed, StorageFull, StoreOwned

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 30


class OwnerLock:
    """The data directory's lock: held by one process until it ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        path = directory / "registry.lock"
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise StoreOwned(
                f"Another registry (process {owner}) already uses {directory}: "
                "stop it, or give this one another --data-dir."
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


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
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageFailed(
                f"The registry's database is not of this release ({error}): start the release that wrote it."
            ) from error


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late, and not for reads
    for pragma in ("journal_mode=TRUNCATE", "synchronous=EXTRA", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Turns the database's own failures into ours; a violated constraint is a defect and passes through."""
    try:
        yield
    except DBAPIError as error:
        ours = _storage_error(error)
        if ours is None:
            raise
        raise ours from error


def _storage_error(error: DBAPIError) -> RegistryError | None:
    original: Any = error.orig
    name = getattr(original, "sqlite_errorname", "") or ""
    if name == "SQLITE_FULL":
        return StorageFull("The registry's disk is full: free space, then repeat the request.", retry_after_s=30)
    if isinstance(original, sqlite3.OperationalError):
        return StorageFailed(
            f"The registry's database failed ({original}): see its log, then repeat the request.", retry_after_s=5
        )
    return None
