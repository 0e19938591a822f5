"""Places that tenants share: whether a tenant may have one more, and which waiting tenant is next.

A single tenant may have up to its share of all places. The fewer places are free, the fewer it may have:

    held + n <= share / (1 - share) * free          a tenant without places may have any that fit

So a tenant that has places never gets the last one, however many keys, connections or adapters it uses.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SHARE = 0.5


def fits(free: int, held: int, n: int = 1, share: float = SHARE) -> bool:
    """Whether a tenant with ``held`` places may take ``n`` of the ``free`` ones."""
    if held == 0 or share >= 1:
        return n <= free
    return n < free and (held + n) * (1 - share) <= share * free


class Shares:
    """How many of ``places`` each tenant holds; counts bytes too. Not thread-safe."""

    def __init__(self, places: int, share: float = SHARE) -> None:
        self.places = places
        self._share = share
        self._held: Counter[str] = Counter()
        self.used = 0

    def __repr__(self) -> str:
        """``<Shares 9/16: acme 8 | globex 1>``"""
        held = " | ".join(f"{tenant} {count}" for tenant, count in sorted(self._held.items()))
        return f"<Shares {self.used}/{self.places}: {held or 'free'}>"

    def held(self, tenant: str) -> int:
        return self._held[tenant]

    def fits(self, tenant: str, n: int = 1, *, alone: bool = False) -> bool:
        """``alone``: no other tenant can exist, so the share does not apply."""
        return fits(self.places - self.used, self._held[tenant], n, 1.0 if alone else self._share)

    def take(self, tenant: str, n: int = 1, *, alone: bool = False) -> bool:
        """Takes ``n`` places; returns False, and takes none, if they do not fit."""
        if not self.fits(tenant, n, alone=alone):
            return False
        self.add(tenant, n)
        return True

    def add(self, tenant: str, n: int = 1) -> None:
        """Count ``n`` places as held, whether they fit or not."""
        self._held[tenant] += n
        self.used += n

    def give_back(self, tenant: str, n: int = 1) -> None:
        assert self._held[tenant] >= n, "more is given back than was taken"
        self._held[tenant] -= n
        self.used -= n
        if not self._held[tenant]:
            del self._held[tenant]


@dataclass(slots=True, eq=False)
class Ticket:
    """Waits for a place, on behalf of one or more tenants."""

    number: int
    tenants: list[str] = field(default_factory=list)
    alone: bool = False
    """No other tenant can exist: see ``Shares.fits``."""
    holder: str | None = None
    """The tenant whose place it has; None while it waits."""
    gone: bool = False


class WaitQueue:
    """Tickets that wait for ``shares``: the tenant with the fewest places is first, within a tenant the order of
    arrival."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._queues: dict[str, deque[Ticket]] = {}

    def join(self, ticket: Ticket, tenant: str) -> None:
        """Wait at the end of the tenant's queue. A ticket in several queues takes the first place that one of them
        gets."""
        if _waits(ticket) and tenant not in ticket.tenants:
            ticket.tenants.append(tenant)
            self._queues.setdefault(tenant, deque()).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give the place back, or stop waiting. Idempotent."""
        if ticket.gone:
            return
        ticket.gone = True
        if ticket.holder is not None:
            self._shares.give_back(ticket.holder)
        self._tidy()

    def next(self) -> Ticket | None:
        """Grant one more place; None if no waiting ticket may have one."""
        self._tidy()
        able = [name for name, queue in self._queues.items() if self._shares.fits(name, alone=queue[0].alone)]
        if not able:
            return None
        tenant = min(able, key=lambda name: (self._shares.held(name), self._queues[name][0].number))
        ticket = self._queues[tenant].popleft()
        self._shares.add(tenant)
        ticket.holder = tenant
        return ticket

    def _tidy(self) -> None:
        """Remove tickets that no longer wait from the front of each queue."""
        for tenant, queue in list(self._queues.items()):
            while queue and not _waits(queue[0]):
                queue.popleft()
            if not queue:
                del self._queues[tenant]


def _waits(ticket: Ticket) -> bool:
    return not ticket.gone and ticket.holder is None


class NoPlace(Exception):
    """No place became free in time."""

    def __init__(self, own: int) -> None:
        super().__init__(f"{own} of them the tenant's own")


class Gate:
    """Places that callers wait for. Belongs to one event loop."""

    def __init__(self, places: int, share: float = SHARE) -> None:
        self.shares = Shares(places, share)
        self._waiting = WaitQueue(self.shares)
        self._wakes: dict[Ticket, asyncio.Event] = {}
        self._tickets = 0

    @asynccontextmanager
    async def place(
        self, tenant: str, patience_s: float | None = None, *, alone: bool = False
    ) -> AsyncIterator[None]:
        """A place for the duration of the block. Raises ``NoPlace`` if none is free within ``patience_s``."""
        ticket = self.ask(tenant, alone=alone)
        try:
            try:
                async with asyncio.timeout(patience_s):
                    await self.granted(ticket)
            except TimeoutError:
                raise NoPlace(self.shares.held(tenant)) from None
            yield
        finally:
            self.leave(ticket)

    def ask(self, tenant: str, *, alone: bool = False) -> Ticket:
        """Join the queue. The caller must ``leave`` in the end."""
        self._tickets += 1
        ticket = Ticket(self._tickets, alone=alone)
        self._wakes[ticket] = asyncio.Event()
        self.also(ticket, tenant)
        return ticket

    def also(self, ticket: Ticket, tenant: str) -> None:
        """Wait on behalf of another tenant too."""
        self._waiting.join(ticket, tenant)
        self._grant()

    async def granted(self, ticket: Ticket) -> None:
        """Returns once the ticket has its place."""
        await self._wakes[ticket].wait()

    def leave(self, ticket: Ticket) -> None:
        """Idempotent."""
        self._wakes.pop(ticket, None)
        self._waiting.leave(ticket)
        self._grant()

    def _grant(self) -> None:
        while (ticket := self._waiting.next()) is not None:
            self._wakes[ticket].set()
