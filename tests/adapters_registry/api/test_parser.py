"""Long bodies are parsed one at a time, with a pause between two; short ones at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from adapters_registry.api.parser import Parser

LONG = b" " * (17 << 10)


async def test_a_pause_between_two_long_bodies_is_as_long_as_the_first_took() -> None:
    parser, begun, go_on = Parser(), [], threading.Semaphore(0)

    def parse(body: bytes) -> int:
        begun.append(len(begun))
        assert go_on.acquire(timeout=30)
        return len(body)

    first, second = (asyncio.create_task(parser.parse(parse, LONG)) for _ in range(2))
    await asyncio.sleep(0.2)
    go_on.release()
    assert await first == len(LONG)
    assert begun == [0], "other requests have the event loop now"
    go_on.release()
    assert await second == len(LONG)
    assert begun == [0, 1]


async def test_a_body_that_fails_leaves_the_turn_to_the_next() -> None:
    def fail(body: bytes) -> None:
        raise ValueError(len(body))

    parser = Parser()
    for _ in range(2):
        with pytest.raises(ValueError, match=str(len(LONG))):
            await parser.parse(fail, LONG)


async def test_a_short_body_is_parsed_on_the_event_loop() -> None:
    assert await Parser().parse(lambda _: threading.current_thread(), b"{}") is threading.main_thread()
