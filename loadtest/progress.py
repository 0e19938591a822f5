"""Progress of a run on stderr: a bar on a terminal, otherwise a line every 15 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from loadtest.samples import End, Sample
from loadtest.scenario import Phase, Plan

LINE_EVERY_S = 15.0
DRAW_EVERY_S = 0.25


class Progress:
    """Counts answers. A separate thread draws, so that the event loop serves only the requests."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._answers = self._failed = 0
        self._phase = ""

    def say(self, line: str) -> None:
        """Prints one line, above the bar if there is one."""
        self.console.print(line, highlight=False, markup=False)

    def begin(self, phase: Phase) -> None:
        self._phase = f"{phase.name} {phase.round}" if phase.round > 1 else phase.name

    def count(self, sample: Sample) -> None:
        self._answers += 1
        self._failed += sample.end is End.FAILED

    @contextmanager
    def shown(self, name: str, plan: Plan) -> Iterator[None]:
        """Draws until the block ends."""
        self._answers = self._failed = 0
        seconds = sum(phase.seconds for phase in plan.phases)
        ended = threading.Event()
        draw = self._bar if self.console.is_terminal else self._lines
        thread = threading.Thread(target=draw, args=(name, seconds, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _bar(self, name: str, seconds: float, ended: threading.Event) -> None:
        text = TextColumn("{task.description} {task.fields[said]}")
        began_s = time.monotonic()
        with Bar(text, BarColumn(), TimeRemainingColumn(), console=self.console, transient=True) as bar:
            task = bar.add_task(name, total=seconds, said="")
            while not ended.wait(DRAW_EVERY_S):
                bar.update(task, completed=min(seconds, time.monotonic() - began_s), said=self._said())

    def _lines(self, name: str, seconds: float, ended: threading.Event) -> None:
        began_s = time.monotonic()
        while not ended.wait(LINE_EVERY_S):
            self.say(f"{name}: {time.monotonic() - began_s:.0f} of about {seconds:.0f} s, {self._said()}")
        self.say(f"{name}: {time.monotonic() - began_s:.0f} s, {self._said()}")

    def _said(self) -> str:
        return f"{self._phase}, {self._answers} answers, {self._failed} failed"
