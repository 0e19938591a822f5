"""Whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters_registry.support.durable import sync_tree, write_whole


def test_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    write_whole(path, [b"one", memoryview(b" two")])
    assert path.read_bytes() == b"one two"
    write_whole(path, [b"three"])
    assert path.read_bytes() == b"three"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_bytes(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("source ended")

    write_whole(tmp_path / "file", [b"old"])
    with pytest.raises(RuntimeError):
        write_whole(tmp_path / "file", chunks())
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_sync_tree_takes_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x")
    sync_tree(tmp_path)
