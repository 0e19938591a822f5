"""Threads that the system does not give: the native engine says so, and the process goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.engine.kernels.build import default_cache
from service.engine.kernels.levels import supported_levels

pytestmark = pytest.mark.skipif(not supported_levels(), reason="no level of the kernels runs on this processor")
MANY = 200
# In a process of its own, whose address space has room for the stacks of a few of the threads only.
CODE = f"""
import resource
from pathlib import Path
from service.engine.kernels.build import library
from service.engine.kernels.levels import best_level
from service.engine.kernels.native import Library, Model
from service.errors import BaseUnavailable

kernels = Library(library(best_level(), Path(__import__("sys").argv[1])))
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20), resource.RLIM_INFINITY))
try:
    kernels.engine(Model(), {MANY})
except BaseUnavailable as error:
    print(error)
threads = len(list(Path("/proc/self/task").iterdir()))
kernels.free(kernels.engine(Model(), 3))
assert len(list(Path("/proc/self/task").iterdir())) == threads
print("goes on")
"""


def test_too_many_threads_are_an_error_and_not_the_end_of_the_process() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(default_cache())],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    assert ran.returncode == 0, ran.stderr
    refused, last = ran.stdout.splitlines()
    assert f"cannot start its {MANY} threads: Resource temporarily unavailable" in refused
    assert last == "goes on"
