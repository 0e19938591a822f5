"""Ray's working directories: each start has a private one, and those of ended starts are removed.

/tmp/quickchange-UID/        mode 0700, because Ray makes everything in its directories accessible to all users
    START/                   one `up`
        lock                 held as long as that `up` runs
        session_…/           Ray's: sockets, logs
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adapters_registry.support.lock import FileLock, Held

LONGEST = 15
"""Bound on the path of the directory for temporary files: paths of sockets have at most 107 characters."""
LOCK = "lock"


class NotOurs(Exception):
    """The directory's name is used by something else; the message has the name."""


def home() -> Path:
    """The parent of the directories of this user's starts."""
    where = Path(tempfile.gettempdir())
    # Other users may write to the temporary directory, so everything created in it is checked to be private.
    return (where if len(str(where)) <= LONGEST else Path("/tmp")) / f"quickchange-{os.getuid()}"  # noqa: S108


@contextlib.contextmanager
def ray_directory(root: Path) -> Iterator[Path]:
    """A new directory under ``root`` during the block; directories of earlier starts are removed.

    It remains after the block, so that Ray's logs can be read; the next start removes it.
    """
    _make_private(root)
    with FileLock(root / LOCK, wait=True):  # a start that has created its directory also holds its lock
        for earlier in root.iterdir():
            _remove_if_ended(earlier)
        directory = Path(tempfile.mkdtemp(dir=root, prefix=""))
        lock = FileLock(directory / LOCK, wait=True)
    with lock:
        yield directory


def forget_sessions(directory: Path) -> None:
    """Remove all sessions in ``directory`` except the last; each restart of Ray creates a new one."""
    sessions = sorted(path for path in directory.glob("session_*") if not path.is_symlink())
    for session in sessions[:-1]:
        shutil.rmtree(session, ignore_errors=True)


def _make_private(root: Path) -> None:
    with contextlib.suppress(FileExistsError):
        root.mkdir(mode=0o700)
    status = root.lstat()
    if status.st_uid != os.getuid() or not root.is_dir() or root.is_symlink():
        raise NotOurs(f"{root} is not a directory of this user: remove it, or set TMPDIR")
    root.chmod(0o700)


def _remove_if_ended(directory: Path) -> None:
    if directory.is_symlink() or not directory.is_dir():
        return
    try:
        with FileLock(directory / LOCK, create=False):
            shutil.rmtree(directory, ignore_errors=True)
    except FileNotFoundError:  # killed before it had its lock
        shutil.rmtree(directory, ignore_errors=True)
    except Held:
        return
