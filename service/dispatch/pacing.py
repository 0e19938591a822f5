"""Delays waking consumers while many streams run, so that events are passed on in groups."""

from __future__ import annotations

import asyncio

from service.dispatch.attempts import Attempt, Attempts

PACE_FROM = 4
"""Up to this many concurrent streams, every event is passed on at once."""
PACE_EACH_S = 0.002
PACE_MOST_S = 0.1
"""Additional delay per stream, and the longest delay of an event. Gateway and client share the engine's cores on a
small machine, so each message costs throughput."""


class Pacing:
    """Wakes consumers: at once for first and last events, otherwise at the next beat."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._held: set[Attempt] = set()
        """Attempts whose events wait for the next beat."""

    def added(self, attempt: Attempt, *, last: bool) -> None:
        """Events were added to ``attempt``; ``last``: a choice has ended."""
        if not attempt.begun or last:
            attempt.changed.set()
        elif not attempt.changed.is_set():
            self._hold(attempt)

    def _hold(self, attempt: Attempt) -> None:
        """Wait for further events: one message per token would cost more than computing the token."""
        if not self._held:
            # Attempts that wait for their first token send no messages, so they do not count as streams.
            pause_s = pace_s(sum(one.begun for one in self._attempts))
            if not pause_s:
                attempt.changed.set()
                return
            asyncio.get_running_loop().call_later(pause_s, self._beat)
        self._held.add(attempt)

    def _beat(self) -> None:
        held, self._held = self._held, set()
        for attempt in held:
            attempt.changed.set()


def pace_s(streams: int) -> float:
    """How long events of one stream wait for further ones if ``streams`` run at once, in seconds."""
    return 0.0 if streams <= PACE_FROM else min(PACE_MOST_S, streams * PACE_EACH_S)
