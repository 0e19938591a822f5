"""A costly result that many callers may request at once: computed once and reused for a short time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Belongs to one event loop. ``compute`` runs once at a time; callers that arrive meanwhile share its result."""

    def __init__(self, compute: Callable[[], Awaitable[T]], valid_s: float) -> None:
        self._compute = compute
        self._valid_s = valid_s
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0
        """End of the result's validity, on the event loop's clock."""

    async def get(self) -> T:
        """A result of the last ``valid_s``, or a new one; all waiting callers get an error, which is not kept."""
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and (now >= self._until or self._failed)):
            # In a separate context: it belongs to no request, and Serve cancels what a request started with it.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        # A caller that gives up must not cancel the result for the others.
        return await asyncio.shield(self._task)

    @property
    def _failed(self) -> bool:
        assert self._task is not None
        return self._task.cancelled() or self._task.exception() is not None

    async def _run(self) -> T:
        result = await self._compute()
        self._until = asyncio.get_running_loop().time() + self._valid_s
        return result
