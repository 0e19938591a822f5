"""Recognises that no further thread can be started, because of a limit on processes or memory."""

from __future__ import annotations

NO_THREAD = "this machine starts no further thread: allow more processes and memory (ulimit, the container's limits)"
_PYTHONS = "can't start new thread"
"""Text of CPython's RuntimeError, which has no separate class."""


def is_no_thread(error: BaseException) -> bool:
    """Whether ``error`` means that a thread could not be started."""
    return isinstance(error, RuntimeError) and _PYTHONS in str(error)
