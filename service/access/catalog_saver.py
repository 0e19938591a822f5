"""Writes the catalog's changes to its file on a thread, separately from following the registry.

So an alias move does not wait for an fsync, and a burst of moves is one write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from service.access.catalog_file import CatalogFile, Known, Later

log = logging.getLogger(__name__)

TOUCH_S = 20.0
"""Least time between two updates of the file's mtime to the time of the registry's last answer."""


class CatalogSaver:
    """Belongs to one event loop."""

    def __init__(self, path: Path, everything: Callable[[], Known]) -> None:
        """``everything`` returns the whole catalog; called when all of it must be written."""
        self._file = CatalogFile(path)
        self._everything = everything
        self._later: list[Later] = []
        """Changes that are not on disk yet."""
        self._whole = True
        """Whether the whole catalog must be written instead of changes."""
        self._seq: int | None = None
        self._dirty = asyncio.Event()
        self._on_disk: int | None = None
        self._touched_at = float("-inf")
        self.age_at_start_s = 0.0
        """Age of the file that was read."""

    def read(self) -> Known | None:
        """The contents of the file; None if it is missing or invalid."""
        try:
            known = self._file.read()
            self.age_at_start_s = max(0.0, time.time() - self._file.path.stat().st_mtime)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            # It is only a cache of the registry, and the next change writes a whole file again.
            log.warning("last-known-good catalog is unreadable, starting empty", extra={"error": str(error)})
            return None
        self._whole = not self._file.takes_changes
        self._seq = self._on_disk = known.seq
        return known

    def add(self, later: Later) -> None:
        """A change was applied."""
        self._later.append(later)
        self._advance(later.seq)

    def replace(self, seq: int) -> None:
        """The whole catalog was replaced, as of ``seq``."""
        self._whole = True
        self._advance(seq)

    def answered(self, now: float) -> None:
        """The registry answered at ``now`` (monotonic clock): sets the file's mtime."""
        if now - self._touched_at < TOUCH_S:
            return
        self._touched_at = now
        if self._on_disk != self._seq:
            # A file from before a revocation must not look recent: it keeps its mtime until it is written again.
            self._dirty.set()
            return
        try:
            os.utime(self._file.path)
        except FileNotFoundError:
            self._whole = True  # a cache may be deleted at any time
            self._dirty.set()
        except OSError as error:
            log.warning("cannot record the time of the registry's answer", extra={"error": str(error)})

    async def run(self) -> None:
        """Write changes until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            writing = asyncio.ensure_future(asyncio.to_thread(self._to_write()))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing  # otherwise its older file could replace the one that ``flush`` writes
                raise

    def flush(self) -> None:
        """Write all pending changes now."""
        if self._dirty.is_set():
            self._to_write()()

    def _advance(self, seq: int) -> None:
        self._seq = seq
        self._dirty.set()

    def _to_write(self) -> Callable[[], None]:
        """A function that writes all pending changes; it runs on a thread."""
        later, self._later = self._later, []
        if not self._whole and self._file.takes_changes:
            return partial(self._write, self._seq, partial(self._file.append, later)) if later else lambda: None
        self._whole = False
        return partial(self._write, self._seq, partial(self._file.write, self._everything()))

    def _write(self, seq: int | None, write: Callable[[], None]) -> None:
        try:
            write()
            self._on_disk = seq
        except OSError as error:
            # The file is still valid, only older. The next change tries again.
            self._whole = True
            log.warning("cannot write the last-known-good catalog", extra={"error": str(error)})
