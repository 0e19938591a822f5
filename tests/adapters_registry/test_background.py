"""Background work goes on after a failure, which is logged, and ends when it is done or told to."""

from __future__ import annotations

import asyncio
import threading

import pytest

from adapters_registry.background import STEADY_S, Pauses, background_thread, in_background

AT_ONCE = (0.0,)


def test_pauses_grow_to_the_last_and_begin_anew_after_a_steady_time():
    now = 0.0
    pauses = Pauses((1.0, 2.0, 5.0), lambda: now)
    pauses.begin()
    assert [pauses.after_failure() for _ in range(4)] == [1.0, 2.0, 5.0, 5.0]
    pauses.begin()
    now = STEADY_S + 0.1
    assert [pauses.after_failure() for _ in range(1)] == [1.0]


async def test_a_task_that_fails_starts_again_and_is_logged(caplog: pytest.LogCaptureFixture):
    runs = []

    async def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ZeroDivisionError

    await in_background(work, "sums", pauses_s=AT_ONCE)
    assert len(runs) == 3
    assert [record.getMessage() for record in caplog.records] == ["sums failed; it starts again in 0 s"] * 2
    assert caplog.records[0].exc_info is not None


async def test_a_cancelled_task_ends(caplog: pytest.LogCaptureFixture):
    task = in_background(asyncio.Event().wait, "waiting")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not caplog.records


async def test_a_task_that_answers_its_cancellation_with_a_failure_ends():
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    task = in_background(work, "waiting", pauses_s=AT_ONCE)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(ZeroDivisionError):
        await task


def test_a_thread_that_fails_starts_again():
    runs, stop = [], threading.Event()

    def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ZeroDivisionError

    thread = background_thread(work, "sums", stop, pauses_s=AT_ONCE)
    thread.start()
    thread.join()
    assert len(runs) == 3


def test_a_thread_that_fails_after_it_was_stopped_ends():
    stop = threading.Event()

    def work() -> None:
        stop.set()
        raise ZeroDivisionError

    thread = background_thread(work, "sums", stop, pauses_s=(3600.0,))
    thread.start()
    thread.join()
