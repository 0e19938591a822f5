"""The parts of a replica, as its host uses them: an engine on its thread, and leases of adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from service.adapters.counts import StoreCounts
from service.adapters.lease import Leases
from service.adapters.residency import Resident
from service.engine.port import Deliver, EnginePort
from service.values import AdapterRef, AdapterSet, ServedBase


class Store(Protocol):
    """The source of leases (``service.adapters.store.AdapterStore``)."""

    async def acquire_all(self, adapters: AdapterSet, tenant: str | None = None) -> Leases[Any]: ...

    def blame(self, ref: AdapterRef) -> None: ...

    def residency(self) -> tuple[Resident, ...]: ...

    def counts(self) -> StoreCounts: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a replica; they are not built on the event loop."""

    served: ServedBase
    store: Store
    make_loop: Callable[[Deliver], EnginePort[Any]]
    announce: Callable[[], Any]
    """A coroutine function that announces the base to the registry; it runs as long as the replica."""
    disk_bytes: Callable[[], int] = int
    """Bytes of adapter slabs on the disk."""
