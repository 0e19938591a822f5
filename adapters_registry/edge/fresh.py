"""A result that many callers may request at once and that is costly: computed once and reused for a short time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Belongs to one event loop. ``ask`` runs once at a time; callers that arrive meanwhile share its result."""

    def __init__(self, ask: Callable[[], Awaitable[T]], good_s: float) -> None:
        self._ask = ask
        self._good_s = good_s
        self._asking: asyncio.Task[T] | None = None
        self._until = 0.0
        """End of the result's validity, on the event loop's clock."""

    async def get(self) -> T:
        """A result of the last ``good_s``, or a new one; an error is raised to all waiting callers and not kept."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and (now >= self._until or self._failed)):
            # In a separate context: it belongs to no request, and Serve cancels what a request started with it.
            self._asking = asyncio.create_task(self._asked(), context=contextvars.Context())
        # A caller that gives up must not cancel the result for the others.
        return await asyncio.shield(self._asking)

    @property
    def _failed(self) -> bool:
        assert self._asking is not None
        return self._asking.cancelled() or self._asking.exception() is not None

    async def _asked(self) -> T:
        answer = await self._ask()
        self._until = asyncio.get_running_loop().time() + self._good_s
        return answer
