"""What to make of a system that starts no further thread: the limit of processes or of memory is reached."""

from __future__ import annotations

NO_THREAD = "this machine starts no further thread: allow more processes and memory (ulimit, the container's limits)"
_PYTHONS = "can't start new thread"
"""What CPython's RuntimeError says; it has no class of its own."""


def is_no_thread(error: BaseException) -> bool:
    """Whether ``error`` says that a thread could not be started."""
    return isinstance(error, RuntimeError) and _PYTHONS in str(error)
