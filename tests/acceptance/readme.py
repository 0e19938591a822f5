"""README's own lines, to be run against a service of a test's."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
API = "http://127.0.0.1:8000"


def block(language: str, containing: str) -> str:
    """The one block of ``language`` in README that has ``containing``."""
    blocks = re.findall(rf"^```{language}\n(.+?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


def commands(containing: str) -> list[list[str]]:
    """The ``quickchange`` commands of a block, in words, without their comments."""
    lines = [line.partition("#")[0].partition(">")[0].split() for line in block("bash", containing).splitlines()]
    return [words[1:] for words in lines if words and words[0].endswith("quickchange")]
