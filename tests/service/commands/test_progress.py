"""What is said of a long step: lines in a pipe, a bar on a terminal, nothing where nobody asked."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from service.commands.progress import LINE_S, lines, showing


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_tenth_but_not_too_often() -> None:
    clock, said = Clock(), list[str]()
    report = lines("upload", said.append, clock)
    for done in range(51):
        clock.now += LINE_S / 4
        report(done, 100)
    assert said == ["upload: 10 %", "upload: 20 %", "upload: 30 %", "upload: 40 %", "upload: 50 %"]
    report(70, 100)
    assert len(said) == 5
    clock.now += LINE_S
    report(79, 100)
    report(100, 100)
    clock.now += LINE_S
    report(100, 100)
    report(100, 100)
    assert said[5:] == ["upload: 70 %", "upload: 100 %"]


def test_what_is_quick_says_nothing() -> None:
    clock, said = Clock(), list[str]()
    report = lines("upload", said.append, clock)
    for done, total in [(0, 10), (5, 10), (10, 10), (0, 0)]:
        report(done, total)
    assert said == []


@pytest.mark.parametrize("quiet", [False, True])
def test_in_a_pipe_it_is_lines(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.commands.progress.LINE_S", 0.0)
    with showing("download", quiet=quiet) as report:
        report(1, 2)
        report(2, 2)
    assert capsys.readouterr() == ("", "" if quiet else "download: 50 %\ndownload: 100 %\n")


def test_on_a_terminal_it_is_a_bar_that_goes_away_and_leaves_the_cursor() -> None:
    code = (
        "from service.commands.progress import showing\n"
        "with showing('converting') as report:\n"
        "    print('before'); report(0, 4); report(3, 4); report(4, 4); print('after')\n"
        "with showing('nothing') as report:\n    report(0, 0)\n"
        "with showing('broken') as report:\n    report(1, 2); raise SystemExit(3)\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # EIO is its end on Linux
        while more := terminal.read(4096):
            shown += more
    assert process.wait(60) == 3
    text = shown.decode()
    assert text.index("before") < text.index("converting") < text.index("100%") < text.index("after")
    assert text.index("broken") < text.index("50%")
    assert "nothing" not in text
    assert "\x1b[2K" in text  # the bar's line is wiped
    assert "\x1b[?25l" not in text
