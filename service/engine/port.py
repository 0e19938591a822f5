"""The engine port: how a process drives an engine that runs on a thread of its own.

A replica drives ``service.engine.loop.EngineLoop`` through it and nothing else, training's rollouts do the same in
the trainer's process, and another engine that implements it can stand behind a replica. docs/engine-port.md shows a
complete use; a test runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from adapters_registry.manifest import Manifest
from service.engine.snapshot import EngineSnapshot
from service.values import Event, GenerateRequest

if TYPE_CHECKING:
    from torch import Tensor  # a process that only talks to a replica does without

A = TypeVar("A")
"""An adapter as the engine binds it; opaque to its users."""

Deliver = Callable[[list[Event]], None]
"""Takes a step's events, on the engine's thread: the next step waits for it. What it raises ends the engine."""


class EnginePort(Protocol[A]):
    """One base behind calls. Every method may be called from any thread, and none waits for a step but ``stop``.

    Events go to the ``Deliver`` that the engine was made with. Each choice of a submitted request gets zero or more
    events with tokens and exactly one whose ``finish`` is set, the last.
    """

    failed: BaseException | None
    """What ended the engine's thread; nothing is delivered from then on."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Finish the step under way and end the thread. What has not ended by then gets no event."""

    def bind(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> A:
        """An adapter that requests can wear, from the tensors of its artifact by name.

        Raises ``AdapterIncompatible`` for what this engine would not compute exactly. The engine holds it only while
        a request wears it. The manifest's digest is its identity: the prefix cache serves what was computed under it,
        so other weights need another digest.
        """

    def submit(self, request: GenerateRequest, adapter: A | None) -> None:
        """Queue the request under a bound adapter, or under none.

        Raises ``ContextLengthExceeded`` and ``InvalidValue`` for what can never run, ``Overloaded`` for what is too
        much now; then there are no events. The request's id is not that of another that has not ended.
        """

    def cancel(self, request_id: str) -> None:
        """End the request's choices with ``CANCELLED`` before the next step. No effect on one that has ended."""

    def snapshot(self) -> EngineSnapshot:
        """The engine's state and counts as of now."""

    def heartbeat_age_s(self) -> float:
        """Seconds since the thread last began a turn: at most about one step, half a second when idle."""
