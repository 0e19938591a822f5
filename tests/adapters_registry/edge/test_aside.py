"""Work beside the event loop: so much at once, tenants in turn, and nothing that nobody waits for."""

from __future__ import annotations

import asyncio
import threading

from adapters_registry.edge.aside import Aside


class Works:
    """Pieces of work that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go_on = threading.Semaphore(0)

    def work(self, name: str) -> str:
        self.begun.append(name)
        assert self._go_on.acquire(timeout=30)
        return name

    def let_one_end(self) -> None:
        self._go_on.release()

    async def have_begun(self, *names: str) -> None:
        while self.begun != [*names]:
            await asyncio.sleep(0.001)


def asked(aside: Aside, works: Works, *names: str) -> list[asyncio.Task[str]]:
    """The first letter is the tenant."""
    return [asyncio.create_task(aside.run(100, lambda name=name: works.work(name), name[0])) for name in names]


async def test_tenants_have_their_turns() -> None:
    aside, works = Aside("test", 1, inline=10), Works()
    tasks = asked(aside, works, "a1", "a2", "a3", "a4", "b1", "c1", "b2")
    order = ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    for count in range(1, len(order) + 1):
        await works.have_begun(*order[:count])
        works.let_one_end()
    assert await asyncio.gather(*tasks) == ["a1", "a2", "a3", "a4", "b1", "c1", "b2"]


async def test_so_many_at_once() -> None:
    aside, works = Aside("test", 2, inline=10), Works()
    tasks = asked(aside, works, "a1", "a2", "a3")
    while len(works.begun) < 2:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert sorted(works.begun) == ["a1", "a2"]
    for _ in tasks:
        works.let_one_end()
    await asyncio.gather(*tasks)


async def test_what_nobody_waits_for_is_not_begun() -> None:
    aside, works = Aside("test", 1, inline=10), Works()
    first, second, third = asked(aside, works, "a1", "a2", "b1")
    await works.have_begun("a1")
    second.cancel()
    await asyncio.sleep(0)
    works.let_one_end()
    await works.have_begun("a1", "b1")
    works.let_one_end()
    assert await asyncio.gather(first, third) == ["a1", "b1"]
    last = asked(aside, works, "a3")
    works.let_one_end()
    assert await last[0] == "a3"


async def test_small_work_is_done_at_once() -> None:
    aside = Aside("test", 1, inline=10)
    assert await aside.run(10, lambda: threading.current_thread().name, "a") == threading.main_thread().name


async def test_with_pauses_the_next_work_waits_as_long_as_the_last_took() -> None:
    aside, works = Aside("test", 1, inline=10, pauses=True), Works()
    first, second = asked(aside, works, "a1", "b1")
    await works.have_begun("a1")
    await asyncio.sleep(0.2)
    works.let_one_end()
    assert await first == "a1"
    assert works.begun == ["a1"], "other requests have the event loop now"
    await works.have_begun("a1", "b1")
    works.let_one_end()
    assert await second == "b1"
