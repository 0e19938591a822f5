"""An answer that many may want at once and that costs something: asked for once, and good for a moment."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Belongs to one event loop. ``ask`` runs once at a time; whoever comes meanwhile gets its answer too."""

    def __init__(self, ask: Callable[[], Awaitable[T]], good_s: float) -> None:
        self._ask = ask
        self._good_s = good_s
        self._asking: asyncio.Task[T] | None = None
        self._until = 0.0
        """Of the answer, on the event loop's clock."""

    async def get(self) -> T:
        """An answer of the last ``good_s``, or a new one; an error is told to all who wait and not kept."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and (now >= self._until or self._failed)):
            # In a context of its own: it is nobody's request, and Serve ends what a request asked for with it.
            self._asking = asyncio.create_task(self._asked(), context=contextvars.Context())
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(self._asking)

    @property
    def _failed(self) -> bool:
        assert self._asking is not None
        return self._asking.cancelled() or self._asking.exception() is not None

    async def _asked(self) -> T:
        answer = await self._ask()
        self._until = asyncio.get_running_loop().time() + self._good_s
        return answer
