"""What is left on a disk after the power went: a replay of the calls that the shim wrote down.

A write survives once its file was synced, a name (made, renamed, unlinked) once its directory was. What was not
synced is lost, or kept by a coin: a disk may have written any of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.adapters_registry.faults.record import Call


@dataclass(eq=False)
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False)
class _Directory:
    names: dict[str, _File | _Directory] = field(default_factory=dict)
    synced: dict[str, _File | _Directory] = field(default_factory=dict)


class Disk:
    """The directory ``root`` as processes see it, and as it would be without power."""

    def __init__(self, root: Path, start: Path) -> None:
        """``start`` is what the directory held, safely, before the first call."""
        self._root = root
        self._top = _Directory()
        for path in start.iterdir():
            file = _File(bytearray(path.read_bytes()), path.read_bytes())
            self._top.names[path.name] = self._top.synced[path.name] = file

    def apply(self, call: Call) -> None:
        if call.name == "nothing":
            return
        directory, name = self._place(call.path)
        match call.name:
            case "create":
                directory.names[name] = _File()
            case "mkdir":
                directory.names[name] = _Directory()
            case "write":
                content = self._file(directory, name).content
                content.extend(bytes(max(0, call.at - len(content))))
                content[call.at : call.at + len(call.data)] = call.data
            case "truncate":
                content = self._file(directory, name).content
                content.extend(bytes(max(0, call.at - len(content))))
                del content[call.at :]
            case "sync":
                entry = self._top if call.path == self._root else directory.names[name]
                if isinstance(entry, _Directory):
                    entry.synced = dict(entry.names)
                else:
                    entry.synced = bytes(entry.content)
            case "rename":
                target, new = self._place(call.other)
                target.names[new] = directory.names.pop(name)
            case "unlink":
                del directory.names[name]

    def write(self, to: Path, kept: random.Random | None = None) -> None:
        """The disk without power, at ``to``; ``kept`` says what survives that was not synced, None keeps nothing."""
        _write(self._top, to, kept)

    def _place(self, path: Path) -> tuple[_Directory, str]:
        directory = self._top
        parts = path.relative_to(self._root).parts
        for part in parts[:-1]:
            inner = directory.names[part]
            assert isinstance(inner, _Directory)
            directory = inner
        return directory, parts[-1] if parts else ""

    def _file(self, directory: _Directory, name: str) -> _File:
        file = directory.names[name]
        assert isinstance(file, _File)
        return file


def _write(directory: _Directory, to: Path, kept: random.Random | None) -> None:
    to.mkdir()
    for name in _names(directory, kept):
        there = directory.names.get(name) if kept and kept.random() < 0.5 else directory.synced.get(name)
        entry = there or directory.synced.get(name) or directory.names[name]
        if isinstance(entry, _Directory):
            _write(entry, to / name, kept)
        else:
            (to / name).write_bytes(entry.content if kept and kept.random() < 0.5 else entry.synced)


def _names(directory: _Directory, kept: random.Random | None) -> Iterable[str]:
    """Synced ones, unless they are gone and the disk knows; others if the disk happens to know them."""
    for name in sorted(directory.synced.keys() | directory.names.keys()):
        safe = name in directory.synced
        if safe and name in directory.names:
            yield name
        elif kept is None:
            if safe:
                yield name
        elif kept.random() < 0.5:
            yield name
