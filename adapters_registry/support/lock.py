"""An exclusive lock on a file: held until it is released or its process ends in any way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Held(Exception):
    """Another holder has the lock."""


class FileLock:
    """Acquired by the constructor. The file remains when the lock is released."""

    def __init__(self, path: Path, *, wait: bool = False, create: bool = True) -> None:
        """Raises ``Held`` if the lock is taken, unless ``wait``; ``FileNotFoundError`` without a file, unless
        ``create``."""
        self._file = -1
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BaseException as error:
            self.release()
            if isinstance(error, BlockingIOError):
                raise Held(path) from None
            raise

    def release(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
