"""Data that past releases wrote, and where it lies."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Golden:
    """What one commit wrote."""

    root: Path
    expected: dict[str, Any]

    def __str__(self) -> str:
        return self.root.name

    @property
    def base(self) -> Path:
        """The checkpoint of the base."""
        return self.root / "base"

    def data(self, to: Path) -> Path:
        """A copy of the data directory, to be opened: migrations change it."""
        return Path(shutil.copytree(self.root / "data", to))

    def tokens(self, folder: str) -> list[int]:
        """What PEFT's model answers greedily to ``expected["prompt"]``."""
        return list(self.expected["tokens"][folder])


_FOUND = sorted(HERE.glob("*/expected.json"))
GOLDEN = [Golden(found.parent, json.loads(found.read_text(encoding="utf-8"))) for found in _FOUND]
"""All of them."""
