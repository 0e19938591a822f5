"""Power loss at any call, on a disk that keeps only what was synced and any part of the rest."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import StorageFailed
from service.feedback.disk import Disk
from service.feedback.segments import SegmentLog
from tests.service.feedback.examples import UnsyncedDisk

PIECE_BYTES = 16
"""A page, in small."""


class PowerLoss(BaseException):
    """Nothing handles it."""


class VolatileDisk(Disk):
    """Files are the page cache; beside them the model of what is on the platters."""

    def __init__(self, failing: set[int], lost_at: int) -> None:
        self.calls = 0
        self._failing = failing
        self._lost_at = lost_at
        self._paths: dict[int, Path] = {}
        self._names: set[Path] = set()
        self._synced: dict[Path, bytes] = {}
        self._pending: dict[Path, list[tuple[int, bytes | None]]] = {}
        """Writes since the last sync, (position, bytes); None cuts there."""

    def create(self, path: Path) -> int:
        self._step()
        file = super().create(path)
        self._paths[file] = path
        self._synced.setdefault(path, b"")
        self._pending.setdefault(path, []).append((0, None))
        return file

    def write(self, file: int, data: bytes, position: int) -> None:
        half = data[: len(data) // 2]
        self._pending[self._paths[file]].append((position, half))
        super().write(file, half, position)
        self._step()
        self._pending[self._paths[file]].append((position, data))
        super().write(file, data, position)

    def sync(self, file: int) -> None:
        self._step()
        path = self._paths[file]
        self._synced[path] = os.pread(file, 1 << 20, 0)
        self._pending[path] = []

    def truncate(self, file: int, size: int) -> None:
        self._step()
        super().truncate(file, size)
        self._pending[self._paths[file]].append((size, None))

    def sync_directory(self, path: Path) -> None:
        self._step()
        self._names = set(path.glob("*.seg"))

    def _step(self) -> None:
        self.calls += 1
        if self.calls == self._lost_at:
            raise PowerLoss
        if self.calls in self._failing:
            raise OSError(errno.EIO, "input/output error")

    def survivors(self, to: Path, chance: Random) -> None:
        """What a machine finds when it comes up again: one of the many possibilities."""
        for path, content in self._synced.items():
            if path not in self._names and chance.random() < 0.5:
                continue
            image = bytearray(content)
            for position, data in self._pending[path]:
                if data is None:
                    if chance.random() < 0.5:
                        del image[position:]
                    continue
                for start in range(0, len(data), PIECE_BYTES):
                    if chance.random() < 0.5:
                        piece = data[start : start + PIECE_BYTES]
                        end = position + start + len(piece)
                        image.extend(bytes(max(0, end - len(image))))
                        image[position + start : end] = piece
            (to / path.name).write_bytes(image)


def work(directory: Path, disk: Disk, groups: list[list[bytes]], acknowledged: list[list[bytes]]) -> None:
    try:
        log = SegmentLog(directory, 300, disk=disk)
    except StorageFailed:
        return
    for group in groups:
        try:
            log.commit(group)
        except StorageFailed:
            continue
        acknowledged.append(group)
    log.close()


def is_subsequence(short: list[list[bytes]], long: list[list[bytes]]) -> bool:
    rest = iter(long)
    return all(item in rest for item in short)


CASES = given(
    sizes=st.lists(st.lists(st.integers(1, 120), min_size=1, max_size=3), min_size=1, max_size=8),
    failing=st.sets(st.integers(4, 30), max_size=4),
    lost_at=st.integers(1, 40),
    seed=st.integers(0, 1 << 32),
)


@settings(max_examples=60, deadline=None)
@CASES
def test_what_was_acknowledged_is_there_and_the_rest_is_whole_or_absent(
    sizes: list[list[int]], failing: set[int], lost_at: int, seed: int
) -> None:
    check(sizes, failing, lost_at, seed)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@CASES
def test_many_power_losses(sizes: list[list[int]], failing: set[int], lost_at: int, seed: int) -> None:
    check(sizes, failing, lost_at, seed)


def check(sizes: list[list[int]], failing: set[int], lost_at: int, seed: int) -> None:
    groups = [[b"%d.%d." % (i, j) + b"x" * size for j, size in enumerate(group)] for i, group in enumerate(sizes)]
    acknowledged: list[list[bytes]] = []
    with TemporaryDirectory() as cache, TemporaryDirectory() as platters:
        disk = VolatileDisk(failing, lost_at)
        with suppress(PowerLoss):
            work(Path(cache), disk, groups, acknowledged)
        disk.survivors(Path(platters), Random(seed))
        log = SegmentLog(Path(platters), 300, disk=UnsyncedDisk())
        found: dict[int, list[bytes]] = {}
        for entry in log.read():
            found.setdefault(int(entry.record.split(b".")[0]), []).append(entry.record)
        assert is_subsequence(acknowledged, list(found.values())), "an acknowledged group is missing or torn"
        assert all(found[i] == groups[i] for i in found), "a group is there in part"
        assert list(found) == sorted(found)
        before = [entry.record for entry in log.read()]
        log.commit([b"after"])
        assert [entry.record for entry in log.read()] == [*before, b"after"]
        log.close()
