"""One holder at a time, until it releases the lock or ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters_registry.support.lock import FileLock, Held

HOLD = (
    "import sys; from pathlib import Path; from adapters_registry.support.lock import FileLock\n"
    "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); input()"
)


def test_a_second_holder_is_refused_and_the_file_keeps_its_text(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("17")
    with FileLock(path), pytest.raises(Held):
        FileLock(path)
    FileLock(path).release()
    assert path.read_text() == "17"


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Held):
            FileLock(path)
        holder.kill()
    FileLock(path).release()


def test_one_that_may_wait_gets_it_in_the_end(tmp_path: Path) -> None:
    path, got = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with FileLock(path, wait=True):
            got.set()

    with FileLock(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.is_set()
    waiting.join()
    assert got.is_set()


def test_no_file_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "lock", create=False)
    assert not (tmp_path / "lock").exists()
