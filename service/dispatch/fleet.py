"""Reports from a router to the gateway in its process: the existing replicas, and the replica of each request."""

from __future__ import annotations

from typing import Protocol


class FleetListener(Protocol):
    """Called on the router's event loop, which may differ from the listener's."""

    def fleet_changed(self, replicas: frozenset[str]) -> None: ...

    def request_routed(self, request_id: str, replica_id: str) -> None: ...


class Fleet:
    """The replicas that this process' router knows, and the listener for their changes.

    Serve creates the router from a pickled copy of its module and returns no reference to it. So the router and the
    gateway of a process share the one instance ``FLEET`` below.
    """

    def __init__(self) -> None:
        self._replicas: frozenset[str] = frozenset()
        self._listener: FleetListener | None = None

    def listen(self, listener: FleetListener) -> None:
        """``listener`` replaces the earlier one, and is called with the current replicas at once."""
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
