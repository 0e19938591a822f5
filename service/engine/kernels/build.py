"""Compiles the kernels once for each compiler, level and source, into a cache that may be deleted at any time.

    python -m service.engine.kernels.build      compile them for every level, into the package itself

With kernels in the package, the service needs no compiler when it starts; the container image uses this. They are
used only if they are of these sources. Otherwise the kernels are compiled at the first start.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from adapters_registry.support.lock import FileLock
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import Level, compilable_levels, processor_flags

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
COMPILED = Path(__file__).parent / "compiled"
STEP = "step.cpp"
COMPILERS = ("g++", "clang++")
TIMEOUT_S = 300.0

# No contraction: whether a product and a sum are rounded once or twice must not depend on inlining.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-pthread",
    "-ffp-contract=off",
    "-fno-math-errno",
)
_TUNED = "-mtune=native"


def default_cache() -> Path:
    """Default directory of compiled kernels."""
    return platformdirs.user_cache_path("quickchange") / "kernels"


def library(level: Level, cache: Path, source: str = STEP) -> Path:
    """The shared library of ``source`` for ``level``; ``NativeUnavailable`` if it cannot be compiled.

    It is the package's, if there is one; otherwise that in ``cache``, tuned for this processor. Of several replicas
    that need it at the same time, one compiles it, and the others wait.
    """
    packaged = _packaged(level, source)
    if packaged.exists():
        return packaged
    compiler, version = find_compiler()
    flags = (*_FLAGS, *level.flags, _TUNED)
    target = _name(cache, level, source, (version, *flags, *sorted(processor_flags())))
    if not target.exists():
        _compile(compiler, flags, SOURCES / source, target)
    return target


def compile_into_package() -> list[Path]:
    """Compiles the engine's library for all levels of this architecture, including those this processor lacks."""
    compiler, _ = find_compiler()
    made = []
    for level in compilable_levels():
        made.append(_packaged(level, STEP))
        _compile(compiler, (*_FLAGS, *level.flags), SOURCES / STEP, made[-1])
    return made


def find_compiler() -> tuple[str, str]:
    """The first compiler that runs, and its version."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if asked.returncode == 0:
            return path, asked.stdout
    raise NativeUnavailable(f"there is no C++ compiler; install {' or '.join(COMPILERS)} and start again")


def _packaged(level: Level, source: str) -> Path:
    """The path of the package's library, whichever compiler made it."""
    return _name(COMPILED, level, source, (*_FLAGS, *level.flags))


def _name(folder: Path, level: Level, source: str, made_with: Iterable[str]) -> Path:
    return folder / f"{Path(source).stem}-{level.name}-{_key(source, made_with)}.so"


def _key(source: str, made_with: Iterable[str]) -> str:
    """16 hex digits that depend on the sources and on ``made_with`` (compiler and flags)."""
    digest = hashlib.sha256()
    for path in [*sorted(SOURCES.glob("*.h")), SOURCES / source]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for text in (source, *made_with):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _compile(compiler: str, flags: tuple[str, ...], source: Path, target: Path) -> None:
    began = time.perf_counter()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(target.with_name(f".{target.name}.lock"), wait=True),
            tempfile.TemporaryDirectory(dir=target.parent) as scratch,
        ):
            if target.exists():
                return
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


if __name__ == "__main__":
    for path in compile_into_package():
        print(path)
