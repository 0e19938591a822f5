"""Runs a collection at intervals, on a thread of the registry's process.

If several processes share a registry, each runs collections; a blob that one deleted is not found by the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters_registry.access import Principal
from adapters_registry.background import background_thread
from adapters_registry.errors import RegistryError
from adapters_registry.records import Collected

COLLECTOR = Principal("collector", None, frozenset())
"""The actor of collections in the audit log."""
_END_S = 5.0
"""How long a running collection may take to end at shutdown; an interrupted one is completed by the next."""
_log = logging.getLogger(__name__)


@contextmanager
def collecting(collect: Callable[[], Collected], every_s: float | None) -> Iterator[None]:
    """During the block, ``collect`` is called every ``every_s`` seconds; never if that is None."""
    if every_s is None:
        yield
        return
    stop = threading.Event()
    thread = background_thread(lambda: _collect(collect, every_s, stop), "collector", stop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_S)


def _collect(collect: Callable[[], Collected], every_s: float, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        try:
            done = collect()
        except RegistryError as error:
            _log.error("collection failed", extra={"code": error.code}, exc_info=error)
            continue
        if done.blobs or done.retired:
            counts = {"retired": len(done.retired), "blobs": done.blobs, "bytes": done.bytes}
            _log.info("collected", extra=counts)
