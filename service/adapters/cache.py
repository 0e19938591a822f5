"""The slabs on disk: found by digest and layout, bounded in bytes, shared by the replicas of this machine.

::

    <root>/<64 hex digits>.<layout>.slab
    <root>/.fetch-*/                          downloads of an earlier release
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from torch import Tensor

from adapters_registry.support.durable import FULL, TEMP_SUFFIX
from service.adapters.slab import CorruptSlab, Slab, SlabLabel, read_slab, write_slab

log = logging.getLogger(__name__)

_ABANDONED_S = 3600.0
"""Older downloads were left by a killed process."""


class SlabCache:
    """Canonical slabs under ``root``, least recently used deleted first. Methods may run in several threads.

    Slabs that this process has in memory are not deleted. So the disk can exceed ``disk_bytes`` by the size of the
    adapter store.
    """

    def __init__(self, root: Path, disk_bytes: int) -> None:
        self._root = root
        self._disk_bytes = disk_bytes
        self._in_use: weakref.WeakValueDictionary[Path, mmap.mmap] = weakref.WeakValueDictionary()
        self._in_use_lock = Lock()
        """Loads run in several threads, and a dictionary that grows while it is iterated raises."""
        self._sweeping = Lock()
        root.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(root)
        self.nbytes = _total(_stats(root))
        """Bytes of all slabs at the last write of this process; other replicas may have written since."""

    def read(self, digest: str, layout: str) -> Slab | None:
        """The verified slab; None if it is missing, or was corrupt and is now deleted."""
        path = self._path(digest, layout)
        try:
            slab = read_slab(path)
            if (slab.label.digest, slab.label.layout) != (digest, layout):
                raise CorruptSlab(f"{path.name}: it is the slab of {slab.label.digest} {slab.label.layout}")
        except FileNotFoundError:
            return None
        except CorruptSlab as error:
            log.error("corrupt adapter slab deleted, fetching it again: %s", error)
            path.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):  # another replica may have just deleted it, but the bytes were read
            os.utime(path)
        with self._in_use_lock:
            self._in_use[path] = slab.buffer
        return slab

    def write(self, label: SlabLabel, tensors: Mapping[str, Tensor]) -> None:
        """Store the slab, then delete old ones until the disk bound holds.

        If the disk is full, idle slabs are deleted first. Raises ``OSError`` if that is not enough.
        """
        path = self._path(label.digest, label.layout)
        while True:
            try:
                write_slab(path, label, tensors)
                break
            except OSError as error:
                if error.errno not in FULL or not self._free(sum(tensor.nbytes for tensor in tensors.values())):
                    raise
        self._sweep(keep=path)

    def _free(self, nbytes: int) -> bool:
        """Delete idle slabs, oldest first, until ``nbytes`` are free; returns whether any was deleted."""
        with self._sweeping:
            slabs = _stats(self._root)
            idle = _oldest_beyond(slabs, _total(slabs) - nbytes, self._used())
            for path in idle:
                log.warning("adapter slab deleted: the disk is full", extra={"slab": path.name})
                path.unlink(missing_ok=True)
            self.nbytes = _total(_stats(self._root))
        return bool(idle)

    def _used(self) -> set[Path]:
        with self._in_use_lock:
            return set(self._in_use)

    def _path(self, digest: str, layout: str) -> Path:
        return self._root / f"{digest.removeprefix('sha256:')}.{layout}.slab"

    def _sweep(self, keep: Path) -> None:
        with self._sweeping:
            # A slab in use may have been read long ago: its age counts from the last sweep that found it in use.
            used = {*self._used(), keep}
            for path in used:
                with suppress(FileNotFoundError):
                    os.utime(path)
            for path in _oldest_beyond(_stats(self._root), self._disk_bytes, used):
                log.info("adapter slab deleted for room on disk", extra={"slab": path.name})
                path.unlink(missing_ok=True)
            self.nbytes = _total(_stats(self._root))


def _total(slabs: list[tuple[float, int, Path]]) -> int:
    return sum(size for _, size, _ in slabs)


def _stats(root: Path) -> list[tuple[float, int, Path]]:
    """(mtime, bytes, path) of each slab, without those that another replica deletes meanwhile."""
    found = []
    for path in root.glob("*.slab"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    return found


def _oldest_beyond(slabs: list[tuple[float, int, Path]], bound: int, used: set[Path]) -> list[Path]:
    excess = _total(slabs) - bound
    oldest = []
    for _, size, path in sorted(slabs):
        if excess <= 0:
            break
        if path not in used:
            oldest.append(path)
            excess -= size
    return oldest


def _clear_abandoned(root: Path) -> None:
    for path in [*root.glob(".fetch-*"), *root.glob(f".*{TEMP_SUFFIX}")]:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
