"""Waiting for what other tasks and threads do: by condition, with more patience than a loaded machine needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 60.0


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.005)


def eventually(done: Callable[[], object]) -> None:
    """As ``until``, for tests without an event loop."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
