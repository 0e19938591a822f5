"""Whole steps of the kernels on several threads, under the sanitizers for threads, memory, undefined behaviour."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.engine.kernels.build import SOURCES, find_compiler
from service.engine.kernels.levels import Level, supported_levels

LEVELS = supported_levels()
DRIVER = Path(__file__).parent / "steps_under_sanitizer.cpp"
# As build.py compiles them, but for what a sanitizer wants: frames, lines, and an end at the first finding.
FLAGS = ("-std=c++17", "-O1", "-g", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fno-omit-frame-pointer")
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66",
    "ASAN_OPTIONS": "exitcode=66:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not LEVELS, reason="no level of the kernels runs on this processor"),
]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_nothing_is_found(sanitizer: str, level: Level, tmp_path: Path) -> None:
    program = tmp_path / "steps"
    checks = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    subprocess.run(
        [find_compiler()[0], *FLAGS, *level.flags, *checks, f"-I{SOURCES}", str(DRIVER), "-o", str(program)],
        check=True,
    )
    for threads in (2, 3, 5):
        ran = subprocess.run([program, str(threads)], capture_output=True, text=True, env={**os.environ, **OPTIONS})
        print(ran.stdout, end="")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == f"{level.name}: 56 steps, 1 and {threads} threads: same bits\n"
