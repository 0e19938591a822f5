"""Progress of a long step: a bar on a terminal, otherwise one line per 10 %."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

Progress = Callable[[int, int], None]
"""Called with the amount done and the total, in one unit; the amount never decreases."""
LINE_S = 1.0
"""Minimum time between lines, so that a short step prints none."""


@contextmanager
def showing(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show on stderr what the block reports, from its first report until it is complete."""
    console = _Console(stderr=True)
    if quiet:
        yield lambda done, total: None
    elif console.is_terminal:
        with _drawing(label, console) as progress:
            yield progress
    else:
        yield lines(label, lambda line: print(line, file=sys.stderr, flush=True), time.monotonic)


def lines(label: str, say: Callable[[str], None], clock: Callable[[], float]) -> Progress:
    """Print each 10 % that is reached, with at least ``LINE_S`` between two lines."""
    said, said_at = 0, clock()

    def report(done: int, total: int) -> None:
        nonlocal said, said_at
        tenth = 10 if done >= total else 10 * done // total
        if tenth > said and clock() - said_at >= LINE_S:
            said, said_at = tenth, clock()
            say(f"{label}: {10 * tenth} %")

    return report


class _Console(Console):
    """Leaves the cursor visible, because a process that is killed while it shows a bar cannot restore it."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _Bars(Bars):
    """Leaves the cursor on an empty line, so that other output begins on a new line."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text()


@contextmanager
def _drawing(label: str, console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # Other output of the process is not redirected, because that could not be undone.
    bars = _Bars(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bars.add_task(label, total=None)

    def report(done: int, total: int) -> None:
        if done < total:
            bars.start()
        bars.update(task, completed=done, total=total)
        if done >= total:
            bars.stop()

    try:
        yield report
    finally:
        bars.stop()
