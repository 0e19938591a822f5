"""Opens a registry on a data directory, and closes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_registry.blobs import DirectoryBlobs, storage_error
from adapters_registry.database import OwnerLock, open_sqlite
from adapters_registry.metadata import Metadata
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits


@contextmanager
def open_registry(directory: Path, limits: Limits, committed: Callable[[], None]) -> Iterator[Registry]:
    """The registry of ``directory``, which this process owns meanwhile; ``StoreOwned`` if another does.

    <directory>/registry.lock   held while a process owns the directory
                registry.db     rows (SQLite)
                blobs/          bytes (see ``blobs``)
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = OwnerLock(directory)
    except OSError as error:
        raise storage_error(error) from error
    try:
        blobs = DirectoryBlobs(directory / "blobs")
        metadata = Metadata(open_sqlite(directory / "registry.db"))
        try:
            yield Registry(metadata, blobs, limits, committed)
        finally:
            metadata.close()
    finally:
        lock.release()
