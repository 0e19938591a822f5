"""A limit per minute: the sum of what was taken within the last 60 s.

It is a sliding window and not a token bucket: a full bucket and its refill together would permit twice the limit
within one minute. An amount that is returned counts as if it had never been taken.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

MINUTE_S = 60.0


@dataclass(slots=True, eq=False)
class Taken:
    """An amount that was taken, and its time."""

    at: float
    amount: int

    def is_over(self, now: float) -> bool:
        return self.at + MINUTE_S <= now


class Minute:
    """The amounts taken within the last 60 s. Times of calls must not decrease."""

    def __init__(self, note: Callable[[float, int], None] = lambda at, amount: None) -> None:
        """``note`` is called for each change, with the time of the taking and the difference of the amount."""
        self._taken: deque[Taken] = deque()
        """Ordered by time, including amounts borrowed from later minutes; the last one is not 0."""
        self._used = 0
        self._note = note

    def recall(self, taken: Iterable[tuple[float, int]]) -> None:
        """Add what an earlier process took, as (time, amount), oldest first. Call it before ``take``."""
        assert not self._taken
        self._taken.extend(Taken(at, amount) for at, amount in taken)
        self._used = sum(one.amount for one in self._taken)

    def used(self, now: float) -> int:
        while self._taken and self._taken[0].is_over(now):
            self._used -= self._taken.popleft().amount
        return self._used

    def take(self, amount: int, now: float) -> Taken:
        assert amount > 0
        taken = Taken(now, amount)
        insort(self._taken, taken, key=attrgetter("at"))
        self._used += amount
        self._note(now, amount)
        return taken

    def borrow(self, amount: int, limit: int, now: float) -> tuple[Taken, ...]:
        """Take ``amount``, which may exceed ``limit``: the excess is taken from later minutes.

        So it is paid back at the rate of ``limit``; until then nothing else fits.
        """
        room = max(0, limit - self.used(now))
        parts = [min(amount, room)] if room else []
        while (left := amount - sum(parts)) > 0:
            parts.append(min(left, limit))
        first = 0 if room else 1
        return tuple(self.take(part, now + (first + i) * MINUTE_S) for i, part in enumerate(parts))

    def give_back(self, taken: Taken, amount: int, now: float) -> None:
        """Return ``amount`` of ``taken``, as if it had never been taken."""
        assert 0 <= amount <= taken.amount
        self.used(now)
        if not taken.is_over(now):
            taken.amount -= amount
            self._used -= amount
            self._note(taken.at, -amount)
        while self._taken and not self._taken[-1].amount:
            self._taken.pop()

    def wait_s(self, amount: int, limit: int, now: float) -> float:
        """Seconds until ``amount`` (at most ``limit``) fits; 0 if it fits now."""
        excess, until = self.used(now) + amount - limit, now
        for taken in self._taken:
            if excess <= 0:
                break
            excess -= taken.amount
            until = taken.at + MINUTE_S
        return until - now

    def reset_s(self, now: float) -> float:
        """Seconds until the window is empty."""
        self.used(now)
        return self._taken[-1].at + MINUTE_S - now if self._taken else 0.0
