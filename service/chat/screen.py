"""The output of a chat: a terminal with line editing and colours, or plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Control characters in a model's answer, which must not control the terminal."""

Show = Callable[[int, str], None]
"""More text of the left (0) or the right (1) answer."""


class Screen(Protocol):
    """Input and output of a session."""

    interactive: bool
    """Whether a person types: the session then continues after an error."""

    def read(self, prompt: str) -> str:
        """The next line; raises ``EOFError`` at the end."""
        ...

    def piece(self, text: str) -> None:
        """More text of the current answer."""
        ...

    def end(self) -> None:
        """The current answer has ended."""
        ...

    def pair(self, titles: tuple[str, str]) -> AbstractContextManager[Show]:
        """Two answers side by side."""
        ...

    def listing(self, lines: Iterable[str]) -> None:
        """The output of a command."""
        ...

    def note(self, line: str) -> None:
        """Something about an answer."""
        ...

    def error(self, line: str) -> None: ...


def harmless(text: str) -> str:
    """``text`` without control characters but newlines and tabs."""
    return text.translate(_CONTROLS)


class Plain:
    """Answers and lists on stdout, notes and errors on stderr; answers are not changed."""

    interactive = False

    def read(self, prompt: str) -> str:
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def piece(self, text: str) -> None:
        print(text, end="", flush=True)

    def end(self) -> None:
        print(flush=True)

    @contextmanager
    def pair(self, titles: tuple[str, str]) -> Iterator[Show]:
        texts = ["", ""]

        def show(side: int, text: str) -> None:
            texts[side] += text

        yield show
        for title, text in zip(titles, texts, strict=True):
            print(f"{title}:\n{text}\n", flush=True)

    def listing(self, lines: Iterable[str]) -> None:
        print(*lines, sep="\n", flush=True)

    def note(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def error(self, line: str) -> None:
        print(f"quickchange: {line}", file=sys.stderr, flush=True)


class Terminal:
    """Line editing and history by readline. The history is not stored in a file."""

    interactive = True

    def __init__(self) -> None:
        import readline  # noqa: F401  # input() edits lines once it is imported

        self._console = Console(highlight=False)

    def read(self, prompt: str) -> str:
        try:
            return input(f"{prompt}> ")
        except KeyboardInterrupt:
            print()
            return ""

    def piece(self, text: str) -> None:
        print(harmless(text), end="", flush=True)

    def end(self) -> None:
        print(flush=True)

    @contextmanager
    def pair(self, titles: tuple[str, str]) -> Iterator[Show]:
        texts = ["", ""]

        def drawn() -> Table:
            grid = Table.grid(expand=True)
            panels = [Panel(Text(text), title=Text(title)) for title, text in zip(titles, texts, strict=True)]
            for _ in panels:
                grid.add_column(ratio=1)
            grid.add_row(*panels)
            return grid

        def show(side: int, text: str) -> None:
            texts[side] += harmless(text)

        # While the answers arrive, as much as fits the screen; afterwards the complete answers.
        with Live(get_renderable=drawn, console=self._console, transient=True, refresh_per_second=8):
            yield show
        self._console.print(drawn())

    def listing(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(line)

    def note(self, line: str) -> None:
        self._print(line, "dim")

    def error(self, line: str) -> None:
        self._print(line, "red")

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(harmless(line), style=style, markup=False, soft_wrap=True)
