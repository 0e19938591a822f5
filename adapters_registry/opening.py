"""Opens a registry on a data directory, and closes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from adapters_registry.blobs import BlobStore, DirectoryBlobs, Staging, storage_error
from adapters_registry.check import check
from adapters_registry.database import OwnerLock, open_sqlite
from adapters_registry.extras import naming_the_extra
from adapters_registry.metadata import Metadata
from adapters_registry.others import following
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits


@contextmanager
def open_registry(
    directory: Path,
    limits: Limits,
    committed: Callable[[], None],
    *,
    database_url: str | None = None,
    blobs_url: str | None = None,
) -> Iterator[Registry]:
    """The registry of ``directory``, which this process owns during the block; ``StoreOwned`` if another process
    does.

    Raises ``ExtraMissing`` for a URL whose client is not installed.

    <directory>/registry.lock   held while a process owns the directory
                registry.db     rows (SQLite), unless ``database_url`` is set
                blobs/          bytes, unless ``blobs_url`` is set
                staging/        uploads in progress, and unnamed local copies of a bucket's blobs that are being
                checked

    Several processes, each with its own directory, may share a PostgreSQL database if they share the bytes too:
    ``committed`` is then also called for commits of the others, within about a quarter of a second.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = OwnerLock(directory)
    except OSError as error:
        raise storage_error(error) from error
    try:
        blobs = _open_blobs(directory, blobs_url)
        staging = Staging(place := directory / "staging", limits)
        metadata = Metadata(_open_database(directory, database_url))
        try:
            shared = nullcontext() if database_url is None else following(lambda: _seq(metadata), committed)
            with shared:
                yield Registry(metadata, blobs, staging, limits, committed, partial(check, spool=place))
        finally:
            metadata.close()
    finally:
        lock.release()


def _open_blobs(directory: Path, url: str | None) -> BlobStore:
    if url is None:
        return DirectoryBlobs(directory / "blobs")
    with naming_the_extra():
        from adapters_registry.blobs.bucket import BucketBlobs

    return BucketBlobs(url)


def _open_database(directory: Path, url: str | None) -> sa.Engine:
    if url is None:
        return open_sqlite(directory / "registry.db")
    with naming_the_extra():
        from adapters_registry.postgresql import open_postgresql

    return open_postgresql(url)


def _seq(metadata: Metadata) -> int:
    with metadata.reading() as rows:
        return rows.feed.seq()
