"""The engine port: the interface by which a process drives an engine on a separate thread.

A replica uses ``service.engine.loop.EngineLoop`` only through this interface, and so do training's rollouts in the
trainer's process. Another engine that implements it can be used in a replica. docs/engine-port.md shows a complete
use; a test runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from adapters_registry.manifest import Manifest
from service.engine.snapshot import EngineSnapshot
from service.values import Event, GenerateRequest

if TYPE_CHECKING:
    from torch import Tensor  # not needed by processes that only call a replica

A = TypeVar("A")
"""The engine's type of bound adapters; opaque to its users."""

Deliver = Callable[[list[Event]], None]
"""Gets a step's events, on the engine's thread; the next step waits for it. If it raises, the engine ends."""


class EnginePort(Protocol[A]):
    """One base. Every method may be called from any thread, and only ``stop`` waits for a step.

    Events go to the engine's ``Deliver``. Each choice of a submitted request gets zero or more events with tokens;
    exactly one event, the last, has ``finish`` set.
    """

    failed: BaseException | None
    """The exception that ended the engine's thread; nothing is delivered from then on."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Finish the current step and end the thread. Unfinished requests get no further event."""

    def bind(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> A:
        """An adapter for requests, from the tensors of its artifact by name.

        Raises ``AdapterIncompatible`` if this engine would not compute it exactly. The engine references it only
        while a request uses it. The manifest's digest is its identity, also in the prefix cache, so different weights
        need different digests.
        """

    def submit(self, request: GenerateRequest, adapter: A | None) -> None:
        """Queue the request with a bound adapter, or without one.

        Raises ``ContextLengthExceeded`` or ``InvalidValue`` for a request that can never run, and ``Overloaded`` if
        there is no room now; then there are no events. The ids of all unfinished requests must be distinct.
        """

    def cancel(self, request_id: str) -> None:
        """End the request's choices with ``CANCELLED`` before the next step. No effect on an ended request."""

    def snapshot(self) -> EngineSnapshot:
        """The engine's current state and counts."""

    def heartbeat_age_s(self) -> float:
        """Seconds since the thread's last heartbeat: at most about one step, or half a second when idle."""
