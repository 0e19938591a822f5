"""Attempts of requests: events wait here between the replica's stream and the consumer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.errors import DeadlineExceeded, InternalError, QuickchangeError
from service.values import Event, FinishReason, GenerateRequest


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt: filled by the replica's stream and by the end of its call, emptied by its consumer."""

    request: GenerateRequest
    replica_id: str | None = None
    """Known once routed."""
    events: deque[Event] = field(default_factory=deque)
    open_choices: int = 0
    spoiled: bool = False
    """A choice failed or was cancelled; the result of the call has the reason."""
    error: QuickchangeError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set if there are events to take or an error to raise."""
    begun: bool = False
    """Its first events were taken."""

    @property
    def is_open(self) -> bool:
        """Whether the consumer may still get something from it."""
        # After the last choice has ended, a consumer that awaits between two lists still finds the rest here.
        return bool(self.open_choices or self.spoiled or self.events)

    def add(self, event: Event) -> None:
        self.open_choices -= event.finish is not None
        if event.finish in (FinishReason.FAILED, FinishReason.CANCELLED):
            self.spoiled = True
        else:
            self.events.append(event)

    def take(self) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        self.changed.clear()
        self.begun = self.begun or bool(events)
        return events

    def fail(self, error: QuickchangeError) -> None:
        """End it with ``error``; only the first error counts."""
        self.error = self.error or error
        self.changed.set()

    async def wait(self, deadline: float) -> None:
        """Wait for events or an error. Raises ``DeadlineExceeded``; ``deadline`` is on the monotonic clock."""
        if self.error is not None:
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self.changed.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"The request was not finished after {self.request.deadline_s:g} s.") from None


class Attempts:
    """The running attempts, by the id of their request."""

    def __init__(self) -> None:
        self._by_id: dict[str, Attempt] = {}
        self._ended = asyncio.Event()
        """Set when an attempt ends."""

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._by_id.values())

    def get(self, request_id: str) -> Attempt | None:
        return self._by_id.get(request_id)

    def on(self, replica_id: str) -> list[Attempt]:
        return [attempt for attempt in self if attempt.replica_id == replica_id]

    def begin(self, request: GenerateRequest) -> Attempt:
        """A new attempt. Raises ``InternalError`` if the id is in use."""
        if request.request_id in self._by_id:
            raise InternalError(f"Two requests have the id {request.request_id}.")
        attempt = self._by_id[request.request_id] = Attempt(request, open_choices=request.n)
        return attempt

    def end(self, attempt: Attempt) -> None:
        del self._by_id[attempt.request.request_id]
        self._ended.set()

    def fail_all(self, error: QuickchangeError) -> None:
        for attempt in self:
            attempt.fail(error)

    async def idle(self) -> None:
        """Returns once no attempt is running."""
        while self._by_id:
            self._ended.clear()
            await self._ended.wait()
