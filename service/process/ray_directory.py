"""Ray's working directories: each start has one that is ours alone, and those of starts that ended are removed.

/tmp/quickchange-UID/        mode 0700; Ray makes everything in its own directories open to all
    START/                   one `up`
        lock                 held as long as that `up` lives
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
"""Of the directory for temporary files: the path of Ray's sockets has at most 107 characters."""
LOCK = "lock"


class NotOurs(Exception):
    """Something else has the name of our directory; the message names it."""


def home() -> Path:
    """Where the directories of this user's starts are."""
    where = Path(tempfile.gettempdir())
    # Others may write there: what is made in it is checked to be ours alone.
    return (where if len(str(where)) <= LONGEST else Path("/tmp")) / f"quickchange-{os.getuid()}"  # noqa: S108


@contextlib.contextmanager
def ray_directory(root: Path) -> Iterator[Path]:
    """A new directory under ``root`` for as long as the block runs; what earlier starts left there is removed.

    Its own is left behind, to show how Ray ended: the next start removes it.
    """
    _make_private(root)
    with FileLock(root / LOCK, wait=True):  # a start that has made its directory holds its lock, too
        for earlier in root.iterdir():
            _remove_if_ended(earlier)
        directory = Path(tempfile.mkdtemp(dir=root, prefix=""))
        lock = FileLock(directory / LOCK, wait=True)
    with lock:
        yield directory


def forget_sessions(directory: Path) -> None:
    """Remove the sessions in ``directory`` but the last: a Ray that is started again makes a new one each time."""
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
