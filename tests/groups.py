"""Groups of tests: xdist gives each to one worker, and what a group shares ends with its last test.

A file is a group, and so are the tests that share a fixture of ``SHARED``: a service that takes long to start.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARED = {"small": ("plane",), "up": ("keyed_up",), "lives": ()}
"""Session's fixtures that take long: the tests of each begin before others. Behind it are fixtures that leave it
changed: tests that need them come last. Some modules call the small one ``up``: it is looked for first."""
_ends: dict[str, ExitStack] = {}


def mark(item: pytest.Item) -> None:
    """Gives ``item`` its group, unless it has one."""
    if item.get_closest_marker("xdist_group") is None:
        needs = getattr(item, "fixturenames", ())
        group = next((name for name in SHARED if name in needs), str(item.path.relative_to(HERE)))
        item.add_marker(pytest.mark.xdist_group(group))


def group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    (name,) = marker.args
    assert isinstance(name, str)
    return name


def place(item: pytest.Item) -> tuple[int, bool]:
    """Sorts the items of a run: long groups first, so that none is left over at the end."""
    order, name = [*SHARED], group(item)
    if name not in order:
        runs_long = item.get_closest_marker("acceptance") or item.get_closest_marker("cores")
        return len(order) if runs_long else len(order) + 1, False
    return order.index(name), any(fixture in getattr(item, "fixturenames", ()) for fixture in SHARED[name])


def ends_with(name: str) -> ExitStack:
    """Closed after the last test of the group here: a service that idles until the session ends costs the others."""
    return _ends.setdefault(name, ExitStack())


def end(name: str) -> None:
    if (stack := _ends.pop(name, None)) is not None:
        stack.close()


def end_all() -> None:
    for name in [*_ends]:
        end(name)
