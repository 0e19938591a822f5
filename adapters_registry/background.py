"""Background work: a failure is logged, and the work starts again after a pause."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses before the first, second, ... start after a failure; the last one repeats."""
STEADY_S = 10.0
"""After work that lasted this long, the pauses begin at the first again."""
_log = logging.getLogger(__name__)


class Pauses:
    """How long to wait before the next start."""

    def __init__(self, pauses_s: Sequence[float] = PAUSES_S, now: Callable[[], float] = time.monotonic) -> None:
        self._pauses_s = pauses_s
        self._now = now
        self._failures = 0
        self._began = now()

    def begin(self) -> None:
        self._began = self._now()

    def after_failure(self) -> float:
        if self._now() - self._began > STEADY_S:
            self._failures = 0
        self._failures += 1
        return self._pauses_s[min(self._failures, len(self._pauses_s)) - 1]


def in_background(
    work: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    context: contextvars.Context | None = None,
) -> asyncio.Task[None]:
    """A task that ends when ``work`` returns or the task is cancelled. The caller must keep a reference to it."""
    return asyncio.create_task(_keep(work, name, Pauses(pauses_s)), name=name, context=context)


def background_thread(
    work: Callable[[], None], name: str, stop: threading.Event, *, pauses_s: Sequence[float] = PAUSES_S
) -> threading.Thread:
    """A thread, not yet started, that ends when ``work`` returns, or fails after ``stop`` was set."""

    def keep() -> None:
        pauses = Pauses(pauses_s)
        while True:
            pauses.begin()
            try:
                work()
                return
            except Exception:  # of any kind: the work must continue
                if stop.wait(_logged(name, pauses.after_failure())):
                    return

    return threading.Thread(target=keep, name=name, daemon=True)


def is_ending() -> bool:
    """Whether the running task was cancelled: an error raised then must not keep the task alive."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _keep(work: Callable[[], Coroutine[Any, Any, None]], name: str, pauses: Pauses) -> None:
    while True:
        pauses.begin()
        try:
            await work()
            return
        except Exception:  # of any kind: the work must continue
            if is_ending():
                raise
            pause_s = _logged(name, pauses.after_failure())
        await asyncio.sleep(pause_s)


def _logged(name: str, pause_s: float) -> float:
    _log.exception("%s failed; it starts again in %g s", name, pause_s)
    return pause_s
