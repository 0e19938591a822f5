"""Threads next to the engine compute alone or end: ``service.support.threads`` says what it costs if they do not."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from service.support.threads import BEHIND, SWITCH_S, compute_serially, in_ending_thread, share_the_lock, stay_behind


def test_a_pools_threads_compute_alone_and_nobody_else_does() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1, initializer=compute_serially) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_that_stay_behind_are_nicer_than_the_process() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1, initializer=stay_behind) as pool:
        there = pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
        assert pool.submit(torch.get_num_threads).result() == 1
    assert there == BEHIND > before
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_the_lock_is_passed_on_soon() -> None:
    before = sys.getswitchinterval()
    try:
        share_the_lock()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert before > SWITCH_S
    finally:
        sys.setswitchinterval(before)


async def test_work_in_an_ending_thread_leaves_none_behind() -> None:
    assert await in_ending_thread(lambda: threading.current_thread().name, "once") == "once"
    for thread in threading.enumerate():
        if thread.name == "once":
            thread.join(60)
            assert not thread.is_alive()
    with pytest.raises(ZeroDivisionError):
        await in_ending_thread(lambda: 1 // 0, "broken")
