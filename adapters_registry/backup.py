"""A registry's data directory copied while it is served: ``python -m adapters_registry.backup DATA_DIR TO``.

    rows, as of one moment (SQLite's online backup) → the blobs that they name → the rows renamed to their final name

A blob is stored before a row names it and never changes, so all blobs that the rows name can be copied. The only
exception is a blob that the collector deleted meanwhile, because its version was deleted after that moment: then the
rows are copied again. Until the last step ``TO`` holds the complete earlier backup. ``TO`` is a data directory: to
restore, copy it and start.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from adapters_registry.blobs import DirectoryBlobs
from adapters_registry.database import OwnerLock
from adapters_registry.errors import BlobNotFound, DigestMismatch, RegistryError, StorageFailed
from adapters_registry.folder import PIECE_BYTES
from adapters_registry.support.durable import sync_directory
from adapters_registry.tables import blobs, leases, version_files, versions

ROWS = "registry.db"
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class BackedUp:
    """Contents of a backup."""

    blobs: int
    copied: int
    """Those that an earlier backup in the same place did not have."""
    copied_bytes: int


def back_up(source: Path, to: Path) -> BackedUp:
    """Writes a whole backup to ``to``, which may hold an earlier one; on an error the earlier one is unchanged."""
    if not (source / ROWS).is_file():
        raise StorageFailed(f"{source} holds no {ROWS}: give the data directory of a registry that uses SQLite.")
    to.mkdir(parents=True, exist_ok=True)
    lock = OwnerLock(to)
    try:
        return _back_up(source, to)
    finally:
        lock.release()


def _back_up(source: Path, to: Path) -> BackedUp:
    part = to / f"{ROWS}.part"
    live, kept = DirectoryBlobs(source / "blobs"), DirectoryBlobs(to / "blobs")
    copied: dict[str, int] = {}
    for _ in range(_ROUNDS):
        _copy_rows(source / ROWS, part)
        named = _named(part)
        try:
            for digest, size in named.items():
                if kept.size(digest) != size:
                    _copy_blob(live, kept, digest, to / "blob.part")
                    copied[digest] = size
        except BlobNotFound as error:
            missing = error
            continue
        part.replace(to / ROWS)
        sync_directory(to)
        return BackedUp(len(named), len(copied), sum(copied.values()))
    raise StorageFailed(f"{missing.param} is named by a version, but is not in {source}.") from missing


def _copy_rows(source: Path, to: Path) -> None:
    """Writers wait meanwhile; a copy in several steps would start again at every commit."""
    to.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True)) as live,
        closing(sqlite3.connect(to)) as copy,
    ):
        live.backup(copy)


def _named(rows: Path) -> dict[str, int]:
    """Blobs of versions that are not deleted and of uploads that wait for their commit, with their sizes."""
    of_versions = sa.select(version_files.c.blob).join(versions).where(versions.c.deleted_at.is_(None))
    of_uploads = sa.select(leases.c.blob).where(leases.c.expires_at > datetime.now(UTC))
    engine = sa.create_engine(f"sqlite:///{rows}")
    try:
        with engine.connect() as connection:
            wanted = sa.select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(of_versions.union(of_uploads)))
            return {row.digest: row.size for row in connection.execute(wanted)}
    finally:
        engine.dispose()


def _copy_blob(live: DirectoryBlobs, kept: DirectoryBlobs, digest: str, staged: Path) -> None:
    hashed, size = hashlib.sha256(), 0
    with live.open(digest) as source, staged.open("wb") as copy:
        while piece := source.read(PIECE_BYTES):
            hashed.update(piece)
            size += len(piece)
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    found = f"sha256:{hashed.hexdigest()}"
    if found != digest:
        raise DigestMismatch(f"The bytes of {digest} are damaged: they are {found}.", param="digest")
    kept.put(staged, digest, size)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m adapters_registry.backup", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("data_dir", type=Path, help="the registry's; it may be served meanwhile")
    parser.add_argument("to", type=Path, help="a new directory, or an earlier backup of the same registry")
    asked = parser.parse_args(arguments)
    try:
        done = back_up(asked.data_dir, asked.to)
    except (RegistryError, OSError, sqlite3.Error) as error:
        print(f"no backup was made: {error}", file=sys.stderr)
        return 1
    print(f"{asked.to} holds all rows and {done.blobs} blobs, {done.copied} of them new ({done.copied_bytes} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
