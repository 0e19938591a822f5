"""Where a figure was measured: commit, versions, processor."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("quickchange", "torch", "transformers", "ray", "httpx")


def provenance() -> dict[str, object]:
    """Command, commit, versions and machine, for the head of a result file."""
    return {
        "command": _command(),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": _versions(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
    }


def _command() -> str:
    spec = sys.modules["__main__"].__spec__
    program = ["python", "-m", spec.name.removesuffix(".__main__")] if spec else sys.argv[:1]
    # Directories of this machine mean nothing elsewhere.
    return shlex.join([*program, *(Path(one).name if one.startswith("/") else one for one in sys.argv[1:])])


def _versions() -> dict[str, str]:
    """Versions of the installed ones: the engine's benchmark needs neither Ray nor an installed quickchange."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str:
    """The variable SOURCE_COMMIT, for a copy without its repository; default: the commit from git."""
    commit = os.environ.get("SOURCE_COMMIT")
    if commit:
        return commit
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return git.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
