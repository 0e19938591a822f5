"""Tables for people, one JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.tree import Tree


def print_json(value: BaseModel | dict[str, Any]) -> None:
    """Print one document on stdout."""
    document = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table. Cells are not shortened, so that names can be copied."""
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def print_tree(tree: Tree) -> None:
    _console().print(tree)


def say(line: str) -> None:
    """Print a line for people."""
    _console().print(line, markup=False, highlight=False, soft_wrap=True)


def size(nbytes: int) -> str:
    """Bytes in binary units, for people."""
    amount = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def moment(when: datetime) -> str:
    """Local time to the minute."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M")


def short(digest: str) -> str:
    """Enough of a digest to distinguish versions."""
    return digest.removeprefix("sha256:")[:12]


def _console() -> Console:
    console = Console(highlight=False)
    # A pipe has no width: one row must stay one line.
    return console if console.is_terminal else Console(highlight=False, width=10_000)
