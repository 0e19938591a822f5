"""Leases: the right to run adapters, which pins them in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from service.values import AdapterRef

T = TypeVar("T")


class Lease(Generic[T]):
    """The right to run ``adapter`` until ``release``; used on the store's event loop only."""

    def __init__(self, ref: AdapterRef, adapter: T, on_release: Callable[[], None]) -> None:
        self.ref = ref
        self.adapter = adapter
        self._on_release: Callable[[], None] | None = on_release

    def release(self) -> None:
        """End the lease; the second call does nothing. The adapter must not be used afterwards."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            # A released lease that is still referenced must not keep the memory after an eviction.
            del self.adapter
            on_release()

    def __enter__(self) -> Lease[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Leases(Generic[T]):
    """The leases of all adapters of one request, in its order."""

    def __init__(self, parts: Sequence[Lease[T]] = ()) -> None:
        self._parts = tuple(parts)

    @property
    def adapters(self) -> tuple[T, ...]:
        return tuple(lease.adapter for lease in self._parts)

    def release(self) -> None:
        for lease in self._parts:
            lease.release()
