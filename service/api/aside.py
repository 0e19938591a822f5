"""Work on client's data that is too long for the event loop, on a few threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

INLINE = 4096
"""What is no longer takes well under a millisecond: less than the way to a thread and back."""


class Aside:
    """So many at once and no more: what waits costs only its own bytes."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """The result of ``work`` on ``size`` bytes or characters; what nobody waits for any more is not begun."""
        if size <= INLINE:
            return work()
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))
