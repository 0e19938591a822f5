"""Compiles the kernels once for each compiler, level and source, into a cache that may be deleted at any time."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import platformdirs

from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import Level, processor_flags

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
COMPILERS = ("g++", "clang++")
TIMEOUT_S = 300.0

# No contraction: whether a product and a sum become one rounding must not depend on where code is inlined.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-pthread",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-mtune=native",
)


def default_cache() -> Path:
    """Where compiled kernels lie when no other place is given."""
    return platformdirs.user_cache_path("quickchange") / "kernels"


def library(level: Level, cache: Path, source: str = "step.cpp") -> Path:
    """The shared library of ``source`` for ``level``; ``NativeUnavailable`` if it cannot be compiled.

    Compiled beside its place and renamed: a reader finds it whole, also when several replicas compile at once.
    """
    compiler, version = find_compiler()
    flags = (*_FLAGS, *level.flags)
    target = cache / f"{Path(source).stem}-{level.name}-{_key(source, version, flags)}.so"
    if not target.exists():
        _compile(compiler, flags, SOURCES / source, target)
    return target


def find_compiler() -> tuple[str, str]:
    """The first compiler that answers, and what it says it is."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if asked.returncode == 0:
            return path, asked.stdout
    raise NativeUnavailable(f"there is no C++ compiler; install {' or '.join(COMPILERS)} and start again")


def _key(source: str, version: str, flags: tuple[str, ...]) -> str:
    """16 hex digits that change with whatever the library is made from and for."""
    digest = hashlib.sha256()
    for path in [*sorted(SOURCES.glob("*.h")), SOURCES / source]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for text in (source, version, *flags, *sorted(processor_flags())):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _compile(compiler: str, flags: tuple[str, ...], source: Path, target: Path) -> None:
    began = time.perf_counter()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            command = [compiler, *flags, str(source), "-o", str(made)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            if ran.returncode != 0:
                raise NativeUnavailable(f"{Path(compiler).name} failed: {_first_error(ran.stderr)}")
            os.replace(made, target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailable(f"the kernels cannot be compiled into {target.parent}: {error}") from error
    logger.info("kernels compiled", extra={"library": target.name, "seconds": round(time.perf_counter() - began, 1)})


def _first_error(text: str) -> str:
    lines = text.strip().splitlines() or ["no message"]
    return next((line for line in lines if "error" in line), lines[0])[:400]
