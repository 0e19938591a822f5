"""Loading with a trial: an adapter that fails its trial counts as a failed load and never joins a shared batch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from service.adapters.loader import Loaded, Loader
from service.errors import NonFiniteLogits, from_failure
from service.values import AdapterRef, Failure

T = TypeVar("T")

CAPACITY = 65536
"""Bound on digests remembered as passed; the oldest is dropped, and tried again if it is loaded again."""


class TriedLoader(Generic[T]):
    """A loader that has the engine try each adapter that it loaded."""

    def __init__(self, loader: Loader[T], attempt: Callable[[T], Failure | None]) -> None:
        """``attempt`` blocks until the engine has tried the adapter; it returns the failure, or None."""
        self._loader = loader
        self._attempt = attempt
        self._passed: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def load(self, ref: AdapterRef) -> Loaded[T]:
        """Raises the loader's errors and the trial's failure."""
        loaded = self._loader.load(ref)
        if ref.digest in self._passed:  # the weights of a digest never change
            return loaded
        failure = self._attempt(loaded.adapter)
        if failure is None:
            self._remember(ref.digest)
            return loaded
        error = from_failure(failure)
        if isinstance(error, NonFiniteLogits):
            raise NonFiniteLogits(
                f"adapter {ref.digest} failed its trial: its weights gave no finite logit for a few tokens; they are "
                "too large or damaged, so push a version that was checked on the base"
            )
        raise error

    def _remember(self, digest: str) -> None:
        with self._lock:
            self._passed[digest] = None
            if len(self._passed) > CAPACITY:
                self._passed.popitem(last=False)
