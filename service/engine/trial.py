"""Adapters that wait for a step of their own before they may share a batch, tried between the engine's steps."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from service.engine.adapter import BoundAdapter
from service.errors import ReplicaFailed
from service.values import Failure

PAUSE_STEPS = 4
"""Steps between two trials while sequences run: a step of few rows costs about as much as one with all of them, so
trials cost running sequences at most a quarter of their pace, however many adapters load."""


class Trials:
    """A queue: load threads wait in ``run``, the engine's thread takes one up at a time."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        """Called when something waits; the engine's loop puts its own here."""
        self._lock = threading.Lock()
        self._waiting: deque[tuple[BoundAdapter, Future[Failure | None]]] = deque()
        self._closed = False
        self._pause = 0

    def run(self, adapter: BoundAdapter) -> Failure | None:
        """Wait for the adapter's trial: why it failed, or None. Raises ``ReplicaFailed`` where the engine ended."""
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
        """Whether one is to be tried now; ``busy``: sequences run meanwhile. Asked once a turn."""
        self._pause = max(0, self._pause - 1) if busy else 0
        return bool(self._waiting) and not self._pause

    def try_next(self, attempt: Callable[[BoundAdapter], Failure | None]) -> None:
        """On the engine's thread: try the one that has waited longest."""
        with self._lock:
            adapter, future = self._waiting.popleft()
        self._pause = PAUSE_STEPS
        try:
            future.set_result(attempt(adapter))
        except BaseException as error:
            future.set_exception(error)
            raise

    def close(self) -> None:
        """The engine has ended: present and later callers get an error."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            future.set_exception(_ended())


def _ended() -> ReplicaFailed:
    return ReplicaFailed("The engine of this replica has stopped.")
