"""Threads that compute without slowing the engine's.

libgomp lets idle OpenMP workers spin only while the process has no more of them than cores; beyond that they sleep,
and each of a step's several thousand small parallel regions pays for waking them. Every thread that once computed in
parallel keeps a team for as long as it lives, and a few such threads made a step with eight adapters several times
as slow on two cores. So threads other than the engine's either compute serially or end after their work.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


BEHIND = 10
"""Niceness of threads whose work can wait: about a tenth of a core where the engine wants it whole."""


SWITCH_S = 0.0005
"""How long a thread may keep Python's lock while the engine waits for it between two steps."""


def share_the_lock() -> None:
    """From now on this process' threads pass Python's lock on soon.

    By default one that computes in Python keeps it for 5 ms while another waits, which is about a step of the engine;
    and each adapter that loads is such a thread.
    """
    sys.setswitchinterval(SWITCH_S)


def stay_behind() -> None:
    """From now on this thread computes alone and lets the engine go first; made for a pool's ``initializer``.

    It may hold Python's lock while it is set aside. The engine, which needs the lock between steps, then waits, and
    so leaves it the core.
    """
    compute_serially()
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)  # Linux: of this thread alone


def compute_serially() -> None:
    """From now on this thread computes alone; made for a thread pool's ``initializer``."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # torch sets a new thread's count when it first asks: let it do so before we do
    threadpool_limits(1, user_api="openmp")


async def in_ending_thread(work: Callable[[], T], name: str) -> T:
    """The result of ``work`` from a thread that ends with it, and its OpenMP team too."""
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # whatever it is, it belongs to the waiting caller
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
