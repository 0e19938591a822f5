from __future__ import annotations

import asyncio
import threading

from adapters_registry.feed import Feed

LONG_S = 60.0


async def waiting(feed: Feed, seen: int) -> asyncio.Task[None]:
    task = asyncio.create_task(feed.wait(seen, LONG_S))
    await asyncio.sleep(0.01)
    assert not task.done()
    return task


async def test_a_commit_on_another_thread_wakes_all_waiters():
    feed = Feed()
    feed.bind()
    tasks = [await waiting(feed, 0) for _ in range(3)]
    threading.Thread(target=feed.committed).start()
    await asyncio.gather(*tasks)
    assert feed.commits == 1


async def test_a_commit_before_the_wait_is_not_missed():
    feed = Feed()
    feed.bind()
    seen = feed.commits
    feed.committed()
    await feed.wait(seen, LONG_S)


async def test_closing_ends_all_waits_and_later_ones():
    feed = Feed()
    feed.bind()
    task = await waiting(feed, 0)
    feed.close()
    await task
    await feed.wait(0, LONG_S)


async def test_a_wait_ends_by_itself():
    feed = Feed()
    feed.bind()
    await feed.wait(0, 0.01)
    assert feed.commits == 0


def test_a_commit_without_a_loop_is_counted():
    feed = Feed()
    feed.committed()
    assert feed.commits == 1
