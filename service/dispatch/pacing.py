"""How long events gather before their consumer is woken, where many streams run at once."""

from __future__ import annotations

import asyncio

from service.dispatch.attempts import Attempt, Attempts

PACE_FROM = 4
"""Up to so many streams at once every event is passed on as it comes."""
PACE_EACH_S = 0.002
PACE_MOST_S = 0.1
"""How much longer events gather for each stream, and the longest that a reader waits for events that are there.

Gateway and client share the engine's cores on a small machine; with half of these 32 readers of the base kept 0.79 of
the engine's throughput, with these 0.85, in runs an hour and several other changes apart."""


class Pacing:
    """Wakes consumers: at once for first and last events, else at the next beat."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._held: set[Attempt] = set()
        """Whose events gather until the next beat."""

    def added(self, attempt: Attempt, *, last: bool) -> None:
        """Events were added to ``attempt``, of a choice's end if ``last``."""
        if not attempt.begun or last:
            attempt.changed.set()
        elif not attempt.changed.is_set():
            self._hold(attempt)

    def _hold(self, attempt: Attempt) -> None:
        """Let further events gather: one message per token would cost more than computing the token."""
        if not self._held:
            # Those that wait for their first token cost no messages: many of them must not slow those that stream.
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
    """How long the events of one stream gather after its first, where so many run at once."""
    return 0.0 if streams <= PACE_FROM else min(PACE_MOST_S, streams * PACE_EACH_S)
