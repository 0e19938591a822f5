"""Transactions on the database: one consistent view for readers, one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from adapters_registry.database import for_reading, translated
from adapters_registry.rows import Change, Rows

__all__ = ["Change", "Metadata", "Rows"]


class Metadata:
    """The database. Transactions are short; writing ones run one at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reader = for_reading(engine)
        self._writer = threading.Lock()
        with self._writer, translated(), engine.begin() as connection:
            Rows(connection).feed.start()

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """One consistent view."""
        with translated(), self._reader.begin() as connection:
            yield Rows(connection)

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        """Durable when the block ends; absent when it raises."""
        with self._writer, translated(), self._engine.begin() as connection:
            rows = Rows(connection)
            rows.feed.lock()
            yield rows

    @contextmanager
    def trying(self) -> Iterator[Rows]:
        """As ``writing``, but always rolled back."""
        with self._writer, translated(), self._engine.connect() as connection, connection.begin() as transaction:
            rows = Rows(connection)
            rows.feed.lock()
            yield rows
            transaction.rollback()

    def close(self) -> None:
        self._engine.dispose()
