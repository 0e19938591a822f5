"""How a router reports to the gateway in its process which replicas exist and which one took a request."""

from __future__ import annotations

from typing import Protocol


class FleetListener(Protocol):
    """Told from the router's event loop, which may not be the listener's."""

    def fleet_changed(self, replicas: frozenset[str]) -> None: ...

    def request_routed(self, request_id: str, replica_id: str) -> None: ...


class Fleet:
    """The replicas that this process' router knows, and the listener for changes of them.

    Serve builds the router itself from a pickled copy of its module and hands out no reference, so ``FLEET``
    below, one a process, is where the router and the gateway in that process meet.
    """

    def __init__(self) -> None:
        self._replicas: frozenset[str] = frozenset()
        self._listener: FleetListener | None = None

    def listen(self, listener: FleetListener) -> None:
        """``listener`` replaces the one before, and is called with the current replicas at once."""
        self._listener = listener
        listener.fleet_changed(self._replicas)

    def changed(self, replicas: frozenset[str]) -> None:
        self._replicas = replicas
        if self._listener is not None:
            self._listener.fleet_changed(replicas)

    def routed(self, request_id: str, replica_id: str) -> None:
        if self._listener is not None:
            self._listener.request_routed(request_id, replica_id)


FLEET = Fleet()
