"""The slabs on disk: bounded, least recently used first, corrupt ones dropped."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
import torch

from service.adapters.cache import SlabCache
from service.adapters.slab import SlabLabel

LAYOUT = "lora1-float32"
ROWS = 1 << 12
SLAB_BYTES = 4 * ROWS + 1024  # a little over one slab's size


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def keep(cache: SlabCache, number: int) -> None:
    label = SlabLabel(digest(number), LAYOUT, "lora", digest(99))
    cache.write(label, {"a": torch.full((ROWS,), float(number))})


def age(root: Path, number: int, seconds: float) -> None:
    path = root / f"{number:064x}.{LAYOUT}.slab"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def held(root: Path) -> list[int]:
    return sorted(int(path.name[:64], 16) for path in root.glob("*.slab"))


def test_absent_is_none(tmp_path: Path) -> None:
    assert SlabCache(tmp_path, 1000).read(digest(1), LAYOUT) is None


def test_kept_over_a_restart(tmp_path: Path) -> None:
    keep(SlabCache(tmp_path, 1 << 20), 1)
    slab = SlabCache(tmp_path, 1 << 20).read(digest(1), LAYOUT)
    assert slab is not None
    assert slab.tensors["a"][0] == 1
    assert SlabCache(tmp_path, 1 << 20).read(digest(1), "lora2-float32") is None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = SlabCache(tmp_path, 3 * SLAB_BYTES)
    for number in (1, 2, 3):
        keep(cache, number)
        age(tmp_path, number, 100 - number)
    cache.read(digest(1), LAYOUT)
    keep(cache, 4)
    assert held(tmp_path) == [1, 3, 4]


def test_what_is_in_use_is_not_deleted(tmp_path: Path) -> None:
    cache = SlabCache(tmp_path, 2 * SLAB_BYTES)
    keep(cache, 1)
    slab = cache.read(digest(1), LAYOUT)
    age(tmp_path, 1, 1000)
    keep(cache, 2)
    age(tmp_path, 2, 500)
    keep(cache, 3)
    assert held(tmp_path) == [1, 3]
    del slab
    age(tmp_path, 1, 1000)
    keep(cache, 4)
    assert held(tmp_path) == [3, 4]


def test_the_newest_stays_even_over_the_bound(tmp_path: Path) -> None:
    cache = SlabCache(tmp_path, 10)
    keep(cache, 1)
    keep(cache, 2)
    assert held(tmp_path) == [2]


def test_a_corrupt_slab_is_deleted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SlabCache(tmp_path, 1 << 20)
    keep(cache, 1)
    path = next(tmp_path.glob("*.slab"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        assert cache.read(digest(1), LAYOUT) is None
    assert "corrupt adapter slab" in caplog.text
    assert held(tmp_path) == []


def test_a_slab_under_a_foreign_name_is_not_served(tmp_path: Path) -> None:
    cache = SlabCache(tmp_path, 1 << 20)
    keep(cache, 1)
    next(tmp_path.glob("*.slab")).rename(tmp_path / f"{2:064x}.{LAYOUT}.slab")
    assert cache.read(digest(2), LAYOUT) is None


def test_old_leavings_are_cleared(tmp_path: Path) -> None:
    for name, seconds in ((".fetch-old", 7200), (".fetch-new", 10)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - seconds
        os.utime(tmp_path / name, (then, then))
    SlabCache(tmp_path, 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == [".fetch-new"]


def test_adapters_may_be_read_while_old_slabs_are_swept(tmp_path: Path) -> None:
    """Loads run in several threads."""
    cache = SlabCache(tmp_path, 1 << 30)
    for number in range(100):
        keep(cache, number)
    slabs: list[object] = []
    reader = threading.Thread(
        target=lambda: slabs.extend(cache.read(digest(number), LAYOUT) for number in range(100))
    )
    reader.start()
    while reader.is_alive():
        cache._sweep(keep=tmp_path / "none")
    assert len(slabs) == 100
