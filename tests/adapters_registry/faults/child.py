"""Lives ``script.OPERATIONS`` in a process of its own for each line of its input, and tells what was acknowledged.

stdin     a directory a line
stdout    for each: the number of operations done, after each of them, then ``ended <status>``
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from tests.adapters_registry.faults.script import OPERATIONS, opened


def live(directory: Path) -> None:
    with opened(directory) as store:
        _acknowledge(0, directory)
        for number, operation in enumerate(OPERATIONS, 1):
            operation.call(store)
            _acknowledge(number, directory)


def _acknowledge(number: int, directory: Path) -> None:
    """And leave a mark between the calls that are written down."""
    os.write(1, b"%d\n" % number)
    os.utime(directory)


def main() -> None:
    """Forks: what is imported once serves every life."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            try:
                live(Path(line.strip()))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        os.write(1, b"ended %d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
