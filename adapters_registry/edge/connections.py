"""The connections of one listener: which are accepted, which are closed to make room, and which were silent too long.

                first byte of a request                headers complete
       IDLE ──────────────────────────────→ OPENING ─────────────────────→ BUSY
        ↑                                      ↑ connected                  │ answer complete
        └──────────────────────────────────────┼────────────────────────────┤ kept alive
                                               │                            └──→ LEAVING (to be closed)

Only busy connections always keep their places. When a bound is exceeded, the connection that has been opening for the
longest time is closed, or else the one that has been idle for the longest time. So silent connections never delay a
client with a request. Nothing here touches a socket.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from adapters_registry.edge.bounds import Bounds
from adapters_registry.support.loopback import is_loopback

C = TypeVar("C")


class State(Enum):
    OPENING = "opening"
    BUSY = "busy"
    IDLE = "idle"
    LEAVING = "leaving"


class Reason(Enum):
    """Why a connection was refused or closed by the server."""

    FULL = "full"
    """All places are taken by requests in progress."""
    ADDRESS_FULL = "address_full"
    """All places of its address are taken."""
    MADE_ROOM = "made_room"
    """It had no request in progress, and another connection needed its place."""
    HEAD_TIMEOUT = "head_timeout"
    STALLED = "stalled"
    HEADERS_TOO_LARGE = "headers_too_large"
    MALFORMED = "malformed"
    PIPELINED = "pipelined"


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """The listener's counts."""

    open: int = 0
    refused: dict[Reason, int] = field(default_factory=dict)
    """Since the start, by reason."""


def client_of(address: str) -> str:
    """The client that a connection from ``address`` is counted for: an IPv6 /64 network belongs to one client."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if found.is_loopback:
        return str(found)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))


_MAKES_ROOM = (State.OPENING, State.IDLE)


class _Places(Generic[C]):
    """Connections by state, in the order in which they entered it."""

    def __init__(self) -> None:
        self._of: dict[State, OrderedDict[C, float]] = {state: OrderedDict() for state in State}
        # Not plain dictionaries: after many removals, finding the first key takes linear time.

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def add(self, connection: C, state: State, now: float) -> None:
        self._of[state][connection] = now

    def remove(self, connection: C, state: State) -> None:
        del self._of[state][connection]

    def longest(self, state: State) -> tuple[C, float] | None:
        return next(iter(self._of[state].items()), None)

    def makes_room(self, newcomer: C) -> C | None:
        """The connection to close for ``newcomer``; None if all others are busy."""
        for state in _MAKES_ROOM:
            found = self.longest(state)
            if found is not None and found[0] is not newcomer:
                return found[0]
        return None


class Connections(Generic[C]):
    """Decides for all connections of a listener. Belongs to one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._all: _Places[C] = _Places()
        self._by_address: dict[str, _Places[C]] = {}
        self._known: dict[C, tuple[str, State]] = {}
        self._stalled: OrderedDict[C, float] = OrderedDict()
        self._refused: Counter[Reason] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def opened(self, connection: C, address: str, now: float) -> tuple[C, Reason] | None:
        """Adds a connection of the client ``address``. Returns the connection to abort for it, which may be
        itself."""
        places = self._by_address.get(address)
        if places is None:
            places = self._by_address[address] = _Places()
        self._known[connection] = (address, State.OPENING)
        for held in (self._all, places):
            held.add(connection, State.OPENING, now)
        share = self.bounds.per_loopback if is_loopback(address) else self.bounds.per_address
        for held, bound, reason in (
            (places, share, Reason.ADDRESS_FULL),
            (self._all, self.bounds.total, Reason.FULL),
        ):
            if len(held) > bound:
                goes = held.makes_room(connection)
                why = reason if goes is None else Reason.MADE_ROOM
                self.refused(why)
                self.closed(connection if goes is None else goes)
                return (connection if goes is None else goes), why
        return None

    def moved(self, connection: C, state: State, now: float) -> None:
        """Sets its state; ignored for a connection that was closed."""
        known = self._known.get(connection)
        if known is not None:
            address, before = known
            for places in (self._all, self._by_address[address]):
                places.remove(connection, before)
                places.add(connection, state, now)
            self._known[connection] = (address, state)

    def stalled(self, connection: C, now: float) -> None:
        """Its answer waits for the client to read."""
        self._stalled[connection] = now
        self._stalled.move_to_end(connection)

    def flows(self, connection: C) -> None:
        """The client reads again."""
        self._stalled.pop(connection, None)

    def closed(self, connection: C) -> None:
        """It is closed or will be; idempotent."""
        self._stalled.pop(connection, None)
        if connection in self._known:
            self._take(connection)
            del self._known[connection]

    def refused(self, reason: Reason) -> None:
        self._refused[reason] += 1

    def overdue(self, now: float) -> Iterator[tuple[C, State]]:
        """Connections that were silent too long; the caller must close or move each one before it takes the next."""
        waits = {
            State.OPENING: self.bounds.head_s,
            State.IDLE: self.bounds.idle_s,
            State.LEAVING: self.bounds.stall_s,
        }
        for state, wait_s in waits.items():
            while (found := self._all.longest(state)) is not None and found[1] + wait_s <= now:
                yield found[0], state

    def stuck(self, now: float) -> Iterator[C]:
        """Connections whose answers waited too long; each must flow, stall anew or be closed before the next is
        taken."""
        while self._stalled:
            connection, since = next(iter(self._stalled.items()))
            if since + self.bounds.stall_s > now:
                return
            yield connection

    def report(self) -> ConnectionReport:
        return ConnectionReport(len(self), dict(self._refused))

    def _take(self, connection: C) -> None:
        address, state = self._known[connection]
        self._all.remove(connection, state)
        self._by_address[address].remove(connection, state)
        if not len(self._by_address[address]):
            del self._by_address[address]
