"""How far a long step has come: a bar on a terminal, a line a tenth otherwise."""

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
"""Done and in all, in one unit; done never shrinks."""
LINE_S = 1.0
"""Lines come at most this often, so that what is quick says nothing."""


@contextmanager
def showing(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Shows on stderr what the block reports, from its first report until all is done."""
    console = _Console(stderr=True)
    if quiet:
        yield lambda done, total: None
    elif console.is_terminal:
        with _drawing(label, console) as progress:
            yield progress
    else:
        yield lines(label, lambda line: print(line, file=sys.stderr, flush=True), time.monotonic)


def lines(label: str, say: Callable[[str], None], clock: Callable[[], float]) -> Progress:
    """Says each tenth that is reached, but none less than ``LINE_S`` after the one before or the beginning."""
    said, said_at = 0, clock()

    def report(done: int, total: int) -> None:
        nonlocal said, said_at
        tenth = 10 if done >= total else 10 * done // total
        if tenth > said and clock() - said_at >= LINE_S:
            said, said_at = tenth, clock()
            say(f"{label}: {10 * tenth} %")

    return report


class _Console(Console):
    """Leaves the cursor visible: a process that is killed while it shows a bar cannot give it back."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _Bars(Bars):
    """Leaves the cursor on an empty line, so that what others say begins on a line of its own."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text()


@contextmanager
def _drawing(label: str, console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # What others write meanwhile is theirs: redirecting it would take it from the process for good.
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
