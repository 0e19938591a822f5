"""Files that are whole or absent: temporary file next to the target, fsync, rename, fsync of the directory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

TEMP_SUFFIX = ".tmp"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of an ``OSError`` that mean: no space left."""


def write_whole(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``path`` so that a reader, also one after a crash, sees the old bytes or all of the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMP_SUFFIX)
    temp = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.writelines(chunks)
            out.flush()
            os.fsync(out.fileno())
        temp.rename(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_tree(root: Path) -> None:
    """Fsync every file and directory under ``root``, so that a rename of ``root`` publishes whole files."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_directory(path)
    sync_directory(root)


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in ``path`` survive power loss."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
