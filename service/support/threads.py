"""Threads that compute without slowing the engine's.

libgomp lets idle OpenMP workers spin only if the process has no more of them than cores. Otherwise they sleep, and
each of a step's several thousand small parallel regions must wake them. Every thread that has computed in parallel
keeps a team of workers until it ends, so a few such threads make steps several times slower (docs/decisions.md). So
threads other than the engine's either compute serially or end after their work.
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
"""Niceness of threads whose work can wait; they get about a tenth of a core that the engine uses."""


SWITCH_S = 0.0005
"""How long a thread may hold the GIL while the engine waits for it between two steps."""


def share_the_lock() -> None:
    """Make this process' threads release the GIL after ``SWITCH_S`` if another thread waits for it.

    By default a thread that runs Python code holds it for 5 ms, about a step of the engine, and each loading adapter
    has such a thread.
    """
    sys.setswitchinterval(SWITCH_S)


def stay_behind() -> None:
    """Make this thread compute serially, at a lower priority than the engine; for a pool's ``initializer``.

    The thread may lose its core while it holds the GIL. The engine then waits for the GIL and leaves its core idle,
    so the thread runs again.
    """
    compute_serially()
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)  # Linux: of this thread alone


def compute_serially() -> None:
    """Make this thread compute serially; for a thread pool's ``initializer``."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # torch sets a thread's count at its first use: call it before setting another count
    threadpool_limits(1, user_api="openmp")


async def in_ending_thread(work: Callable[[], T], name: str) -> T:
    """The result of ``work``, run on a thread that ends afterwards, together with its OpenMP team."""
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # any exception is passed to the waiting caller
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
