"""The wheel, and virtual environments that it is installed into without a download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.deploy.tools import ROOT

SOURCES = ("adapters_registry", "service", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built from."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with the wheel in it."""

    root: Path

    @property
    def packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.root)}))

    def command(self, program: str, *arguments: str) -> list[str]:
        return [str(self.root / "bin" / program), *arguments]

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In an empty directory of its own, so that nothing of the checkout is found."""
        return subprocess.run(
            self.command(program, *arguments), capture_output=True, text=True, env=self.environment(), cwd=self.root
        )

    def environment(self) -> dict[str, str]:
        """Without what would show this checkout, with a home of its own."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "QUICKCHANGE_"))}
        return kept | {"HOME": str(self.root), "XDG_CACHE_HOME": str(self.root / "cache"), "COLUMNS": "200"}


def build_wheel(scratch: Path) -> Path:
    """The wheel of this checkout, built with the setuptools of this environment from a copy of the sources."""
    copy = scratch / "sources"
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "compiled"))
        else:
            shutil.copy(source, copy / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(scratch), str(copy))
    (wheel,) = scratch.glob("*.whl")
    return wheel


def venv_of(root: Path, wheel: Path, extras: Sequence[str] = ()) -> Installed:
    """A virtual environment with the wheel and links to all that it and ``extras`` require."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    made = Installed(root)
    pip("--python", str(root / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    (own,) = metadata.distributions(name="quickchange", path=[str(made.packages)])
    for distribution in _closure(own, extras):
        _link(distribution, made.packages)
    return made


def pip(*arguments: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def _closure(root: metadata.Distribution, extras: Iterable[str]) -> list[metadata.Distribution]:
    """All that ``root`` requires, directly or not, with the extras that are asked for on the way."""
    found: dict[str, metadata.Distribution] = {}
    left = [(root, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while left:
        distribution, extra = left.pop()
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                continue
            for its in ("", *needed.extras):
                if (needed.name.lower(), its) not in seen:
                    seen.add((needed.name.lower(), its))
                    found[needed.name.lower()] = theirs = metadata.distribution(needed.name)
                    left.append((theirs, its))
    return list(found.values())


def _link(distribution: metadata.Distribution, to: Path) -> None:
    source = Path(str(distribution.locate_file("")))
    for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (to / name).exists():
            (to / name).symlink_to(source / name)
