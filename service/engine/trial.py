"""Queues adapters for a trial, a step without other sequences, which they must pass before they share a batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from service.engine.adapter import BoundAdapter
from service.errors import ReplicaFailed
from service.values import Failure

PAUSE_STEPS = 4
"""Steps between two trials while sequences run. A step of few rows takes about as long as one of many, so trials take
at most a fifth of the time, however many adapters load."""


class Trials:
    """A queue: load threads wait in ``run``, the engine's thread tries one adapter at a time."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        """Called when an adapter is queued; set by the engine's loop."""
        self._lock = threading.Lock()
        self._waiting: deque[tuple[BoundAdapter, Future[Failure | None]]] = deque()
        self._closed = False
        self._pause = 0

    def run(self, adapter: BoundAdapter) -> Failure | None:
        """Wait for the adapter's trial; returns its failure, or None. Raises ``ReplicaFailed`` if the engine ends."""
        future: Future[Failure | None] = Future()
        with self._lock:
            if self._closed:
                raise _ended()
            self._waiting.append((adapter, future))
        self.wake()
        return future.result()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def due(self, busy: bool) -> bool:
        """Whether to try an adapter now; ``busy``: sequences are running. Call it once per turn of the loop."""
        self._pause = max(0, self._pause - 1) if busy else 0
        return bool(self._waiting) and not self._pause

    def try_next(self, attempt: Callable[[BoundAdapter], Failure | None]) -> None:
        """Try the adapter that has waited longest; call it on the engine's thread."""
        with self._lock:
            adapter, future = self._waiting.popleft()
        self._pause = PAUSE_STEPS
        try:
            future.set_result(attempt(adapter))
        except BaseException as error:
            future.set_exception(error)
            raise

    def close(self) -> None:
        """The engine has ended: current and later callers get ``ReplicaFailed``."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            future.set_exception(_ended())


def _ended() -> ReplicaFailed:
    return ReplicaFailed("The engine of this replica has stopped.")
