"""Runs work on clients' data that is too long for the event loop on a few separate threads, accounts in turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Aside:
    """Bounds concurrent work; waiting work takes only the memory of its input. Belongs to one event loop."""

    def __init__(self, name: str, threads: int, inline: int, *, pauses: bool = False) -> None:
        """Inputs of at most ``inline`` bytes or characters (about a millisecond) are processed on the event loop.

        With ``pauses``, for work that holds the GIL, a thread then rests for as long as the work took. Other requests
        take several turns of the event loop, and the next work would take the GIL again after the first of them.
        """
        self._threads = ThreadPoolExecutor(threads, name)
        self._inline = inline
        self._free = threads
        self._pauses = pauses
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Waiting work by account; the account whose turn is next is first."""

    async def run(self, size: int, work: Callable[[], T], account: str) -> T:
        """The result of ``work`` on ``size`` bytes or characters; work of a cancelled caller is not begun.

        Accounts take turns, so that one with much work delays only itself.
        """
        if size <= self._inline:
            return work()
        await self._turn(account)
        began = time.monotonic()
        try:
            context = copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))
        finally:
            if self._pauses:
                asyncio.get_running_loop().call_later(time.monotonic() - began, self._next)
            else:
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
            if not turn.cancelled():  # the turn was granted while this call was being cancelled
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
