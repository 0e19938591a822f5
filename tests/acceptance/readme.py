"""The lines that README and the first pages of the docs show, to be run against a test's service."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/getting-started.md", "docs/clients.md")
API = "http://127.0.0.1:8000"


def block(language: str, containing: str) -> str:
    """The one block of ``language`` on these pages that has ``containing``."""
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    blocks = re.findall(rf"^```{language}\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


def commands(containing: str) -> list[list[str]]:
    """The ``quickchange`` commands of a block, in words, without their comments."""
    lines = [line.partition("#")[0].partition(">")[0].split() for line in block("bash", containing).splitlines()]
    return [words[1:] for words in lines if words and words[0].endswith("quickchange")]
