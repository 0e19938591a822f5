"""Reports commits of other processes: reads the database's last seq every quarter of a second.

Polling was chosen over LISTEN/NOTIFY: it needs no extra connection to monitor and reopen, works behind a pooler,
cannot miss a message while disconnected, and costs one row read four times per second.
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
    """During the block, ``changed`` is called on a thread whenever ``seq`` returns a different number than before."""
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
            if not failing:  # log once per outage
                _log.warning("cannot look for changes of other processes", extra={"code": error.code}, exc_info=error)
            failing = True
            continue
        failing = False
        if now != seen:
            seen = now
            changed()
