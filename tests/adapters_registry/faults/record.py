"""Reads what the shim wrote down: every call that changed a file, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    """``nothing`` if it failed, as making a directory does that is there."""
    path: Path
    other: Path
    """The new name of a rename."""
    at: int
    """Where it wrote; the length it cut to."""
    data: bytes


def recorded(path: Path) -> Iterator[Call]:
    with path.open("rb") as file:
        while head := file.readline():
            name, first, second, at, size = head.decode().rstrip("\n").split("\t")
            yield Call(name, Path(first), Path(second), int(at), file.read(int(size)))
