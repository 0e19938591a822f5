"""Work on clients' data that is too long for the event loop, on a few threads of its own, accounts in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Aside:
    """So many at once and no more: what waits costs only its own bytes. Belongs to one event loop."""

    def __init__(self, name: str, threads: int, inline: int) -> None:
        """What has at most ``inline`` bytes or characters is done at once: it takes about a millisecond at worst."""
        self._threads = ThreadPoolExecutor(threads, name)
        self._inline = inline
        self._free = threads
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By account; the one whose turn is next comes first."""

    async def run(self, size: int, work: Callable[[], T], account: str) -> T:
        """The result of ``work`` on ``size`` bytes or characters; what nobody waits for any more is not begun.

        An account with much to do waits for itself alone: each has one done in turn.
        """
        if size <= self._inline:
            return work()
        await self._turn(account)
        try:
            context = copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))
        finally:
            self._next()

    async def _turn(self, account: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given while this was being cancelled
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            account = next(iter(self._waiting))
            queue = self._waiting.pop(account)
            turn = queue.popleft()
            if queue:
                self._waiting[account] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
