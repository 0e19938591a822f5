"""Finds the programs that check what is deployed, and says plainly which one is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def tool(name: str, origin: str) -> str:
    """The path of ``name``; skips the test with the remedy when it is not installed."""
    beside_python = Path(sys.executable).parent / name
    found = str(beside_python) if beside_python.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"not checked: {name} is not installed ({origin})")
    return found


def run(*command: str) -> str:
    """Its output; fails the test with all that it said when it exits with anything but 0."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)}:\n{said}"
    return done.stdout
