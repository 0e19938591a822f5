"""An answer that many want at once is asked for once."""

from __future__ import annotations

import asyncio

import pytest

from adapters_registry.edge.fresh import Fresh


class Asked:
    """Answers how often it was asked, when told."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.count


async def test_one_at_a_time_for_all() -> None:
    asked = Asked()
    fresh = Fresh(asked, 60.0)
    waiting = [asyncio.create_task(fresh.get()) for _ in range(64)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    asked.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [1] * 63
    assert await fresh.get() == 1
    assert asked.count == 1


async def test_no_longer_than_it_is_good() -> None:
    asked = Asked()
    asked.gate.set()
    fresh = Fresh(asked, 0.0)
    assert [await fresh.get(), await fresh.get()] == [1, 2]


async def test_an_error_is_not_kept() -> None:
    asked = Asked()
    asked.gate.set()
    asked.error = RuntimeError("once")
    fresh = Fresh(asked, 60.0)
    with pytest.raises(RuntimeError, match="once"):
        await fresh.get()
    asked.error = None
    assert await fresh.get() == 2
