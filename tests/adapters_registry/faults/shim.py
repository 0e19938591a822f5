"""Builds the shim that makes file operations fail, and tells it what to do through a mapped file."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

KILL, TEAR, RECORD = -1, -2, -3
"""End the process before the call; in the middle of it, if it writes; write all calls down. Else an errno."""
SOURCE = Path(__file__).parent / "shim.c"
_LAYOUT = struct.Struct("lllll1000s1000s")
_EVER = (1 << 62) - 1


def build(directory: Path) -> Path:
    """The library; skips the test where no C compiler is."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = directory / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class Faults:
    """What happens to file operations below ``directory``, in every process that has ``environment``."""

    def __init__(self, library: Path, control: Path, directory: Path) -> None:
        control.write_bytes(bytes(_LAYOUT.size))
        self.environment = {"LD_PRELOAD": str(library), "REGISTRY_TEST_FAULTS": str(control)}
        self.record = control.with_suffix(".record")
        self.record.touch()
        self._directory = directory
        with control.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), _LAYOUT.size)

    def set(self, action: int = 0, first: int = 1, last: int = _EVER, directory: Path | None = None) -> None:
        """From now on: ``action`` on the ``first`` to the ``last`` call, counted from here."""
        self._directory = directory or self._directory
        names = str(self._directory).encode(), str(self.record).encode()
        self._mapped[:] = _LAYOUT.pack(0, first, last, action, 1, *names)

    def clear(self) -> int:
        """All goes well again; how many calls there were."""
        count = self.count
        self._mapped[:] = bytes(_LAYOUT.size)
        return count

    @property
    def count(self) -> int:
        found: int = _LAYOUT.unpack(self._mapped[:])[0]
        return found
