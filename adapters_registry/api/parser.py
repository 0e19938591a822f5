"""Parses request bodies so that other requests wait for at most one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_INLINE = 16 << 10
"""Bytes of a body that are parsed on the event loop; longer ones would delay other requests."""


class Parser:
    """Parses long bodies in a thread, one at a time: a parser holds the GIL until it has read the whole body."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def parse(self, parse: Callable[[bytes], T], body: bytes) -> T:
        """The result of ``parse(body)``, or what it raises."""
        if len(body) <= _INLINE:
            return parse(body)
        await self._turn.acquire()
        began = time.monotonic()
        try:
            return await asyncio.to_thread(parse, body)
        finally:
            # Requests that waited for the GIL take several turns of the event loop, and the next body would take the
            # GIL again after the first of them: it waits as long as this one took.
            asyncio.get_running_loop().call_later(time.monotonic() - began, self._turn.release)
