"""Wakes the long-polls: an asyncio condition notified right after each commit."""

from __future__ import annotations

import asyncio


class Feed:
    """Counts commits of this process. Waiters read the count, then the database, then wait for the next commit."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.commits = 0

    @property
    def closed(self) -> bool:
        """True once the process stops: no new waits."""
        return self._closed

    def bind(self) -> None:
        """Remember the running loop, which other threads notify."""
        self._loop = asyncio.get_running_loop()

    def committed(self) -> None:
        """Report a commit. Callable from any thread."""
        self._report(closing=False)

    def close(self) -> None:
        """End all waits at once. Callable from any thread or a signal handler."""
        self._closed = True
        self._report(closing=True)

    async def wait(self, seen: int, timeout_s: float) -> None:
        """Returns when there are more commits than ``seen``, after ``timeout_s``, or at ``close``."""
        async with self._condition:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._condition.wait_for(lambda: self._closed or self.commits > seen)
            except TimeoutError:
                return

    def _report(self, *, closing: bool) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            self.commits += not closing
            return
        loop.call_soon_threadsafe(self._spawn, closing)

    def _spawn(self, closing: bool) -> None:
        self.commits += not closing
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)  # the loop itself keeps no strong reference
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._condition:
            self._condition.notify_all()
