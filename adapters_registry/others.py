"""Tells of commits that other processes made: looks at the database's last seq every quarter of a second.

Looking was chosen over LISTEN/NOTIFY: it needs no connection of its own that must be watched and opened again, works
behind a pooler, cannot miss a message while cut off, and costs one row read four times a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters_registry.background import background_thread
from adapters_registry.errors import RegistryError

LOOK_S = 0.25
_log = logging.getLogger(__name__)


@contextmanager
def following(seq: Callable[[], int], changed: Callable[[], None], every_s: float = LOOK_S) -> Iterator[None]:
    """Meanwhile ``changed`` is called, on a thread, whenever ``seq`` gives another number than before."""
    stop = threading.Event()
    thread = background_thread(lambda: _look(seq, changed, every_s, stop), "others", stop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _look(seq: Callable[[], int], changed: Callable[[], None], every_s: float, stop: threading.Event) -> None:
    seen, failing = 0, False
    while not stop.wait(every_s):
        try:
            now = seq()
        except RegistryError as error:
            if not failing:  # once an outage, not four times a second
                _log.warning("cannot look for changes of other processes", extra={"code": error.code}, exc_info=error)
            failing = True
            continue
        failing = False
        if now != seen:
            seen = now
            changed()
