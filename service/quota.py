"""What a key may use of one gateway: decisions on counts and a time that the caller tells, no clock and no await.

    enter ──► Permit ──► reserve ──► (the engine runs) ──► release
    a request, one more       tokens and bytes of the        what of the tokens was not
    in flight                 adapter, before any work       used, the rest of it all

A minute is any 60 s, not a bucket that refills: a full bucket and what flows into it together let twice the limit
through within one minute. What is given back is as if it had never been taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from adapters_registry.records import Quotas
from service.errors import QuotaExceeded, QuotaTooSmall

MINUTE_S = 60.0


@dataclass(slots=True, eq=False)
class Taken:
    """Part of a minute's limit."""

    at: float
    amount: int

    def is_over(self, now: float) -> bool:
        return self.at + MINUTE_S <= now


class Minute:
    """What was taken within the last 60 s; times never go back."""

    def __init__(self) -> None:
        self._taken: deque[Taken] = deque()
        """Oldest first; of the last one something is left."""
        self._used = 0

    def used(self, now: float) -> int:
        while self._taken and self._taken[0].is_over(now):
            self._used -= self._taken.popleft().amount
        return self._used

    def take(self, amount: int, now: float) -> Taken:
        assert amount > 0
        taken = Taken(now, amount)
        self._taken.append(taken)
        self._used += amount
        return taken

    def give_back(self, taken: Taken, amount: int, now: float) -> None:
        """``amount`` of what was taken, as if it never had been."""
        assert 0 <= amount <= taken.amount
        self.used(now)
        if not taken.is_over(now):
            taken.amount -= amount
            self._used -= amount
        while self._taken and not self._taken[-1].amount:
            self._taken.pop()

    def wait_s(self, amount: int, limit: int, now: float) -> float:
        """How long until ``amount``, which is at most ``limit``, fits; 0 if it does now."""
        excess, until = self.used(now) + amount - limit, now
        for taken in self._taken:
            if excess <= 0:
                break
            excess -= taken.amount
            until = taken.at + MINUTE_S
        return until - now

    def reset_s(self, now: float) -> float:
        """How long until nothing is taken any more."""
        self.used(now)
        return self._taken[-1].at + MINUTE_S - now if self._taken else 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """What a request asks for, known once its prompt is in tokens."""

    prompt_tokens: int
    most_tokens: int
    """Prompt, and all that it may generate."""
    adapter: str | None
    """The digest of the version that it keeps loaded; None is the base."""
    size_bytes: int = 0
    """Of that version's files."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands with one of its limits by the minute."""

    limit: int
    remaining: int
    reset_s: float


class Meter:
    """What one key uses now."""

    def __init__(self) -> None:
        self.requests = Minute()
        self.tokens = Minute()
        self.running = 0
        self._pins: dict[str, tuple[int, int]] = {}
        """Digest to (requests that pin it, bytes)."""

    def __repr__(self) -> str:
        return f"<Meter {self.running} running, {self.pinned_bytes} bytes pinned>"

    @property
    def pinned_bytes(self) -> int:
        return sum(size_bytes for _, size_bytes in self._pins.values())

    def more_bytes(self, need: Need) -> int:
        """What ``need`` would pin beyond what is pinned."""
        return 0 if need.adapter is None or need.adapter in self._pins else need.size_bytes

    def pin(self, digest: str, size_bytes: int) -> None:
        count, held_bytes = self._pins.get(digest, (0, size_bytes))
        self._pins[digest] = (count + 1, held_bytes)

    def unpin(self, digest: str) -> None:
        count, held_bytes = self._pins.pop(digest)
        if count > 1:
            self._pins[digest] = (count - 1, held_bytes)

    def is_idle(self, now: float) -> bool:
        return not self.running and not self.requests.used(now) and not self.tokens.used(now)


class Permit:
    """One request's hold on its key's quotas; ``release`` ends it, once."""

    def __init__(self, meter: Meter, quotas: Quotas, now: float) -> None:
        """Raises ``QuotaExceeded`` where a request more is too many; nothing is held then."""
        self._meter = meter
        self._quotas = quotas
        self._tokens: Taken | None = None
        self._pinned: str | None = None
        self._released = False
        _check_requests(meter, quotas, now)
        meter.running += 1
        if quotas.requests_per_min is not None:
            meter.requests.take(1, now)

    def reserve(self, need: Need, now: float) -> None:
        """Hold the tokens and the adapter of the request, both or neither.

        Raises ``QuotaExceeded``, or ``QuotaTooSmall`` where waiting would not help.
        """
        assert not self._released
        _check_tokens(self._meter, self._quotas, need, now)
        _check_bytes(self._meter, self._quotas, need)
        if self._quotas.tokens_per_min is not None:
            self._tokens = self._meter.tokens.take(need.most_tokens, now)
        if need.adapter is not None:
            self._meter.pin(need.adapter, need.size_bytes)
            self._pinned = need.adapter

    def release(self, used_tokens: int, now: float) -> None:
        """The request has ended, however it did, and used so many tokens of those reserved."""
        assert not self._released
        self._released = True
        self._meter.running -= 1
        if self._tokens is not None:
            self._meter.tokens.give_back(self._tokens, max(0, self._tokens.amount - used_tokens), now)
        if self._pinned is not None:
            self._meter.unpin(self._pinned)


class QuotaBook:
    """The meters of all keys that used something of late, of one gateway among several."""

    def __init__(self, gateways: int = 1) -> None:
        self._gateways = gateways
        self._meters: dict[str, Meter] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return len(self._meters)

    def enter(self, key: str, quotas: Quotas, now: float) -> Permit:
        """One more request of ``key``. Raises ``QuotaExceeded``."""
        self._sweep(now)
        return Permit(self._meters.setdefault(key, Meter()), share(quotas, self._gateways), now)

    def standing(self, key: str, quotas: Quotas, now: float) -> tuple[Standing | None, Standing | None]:
        """Of requests and of tokens a minute; None is without limit."""
        meter, quotas = self._meters.get(key, Meter()), share(quotas, self._gateways)
        return (
            _standing(meter.requests, quotas.requests_per_min, now),
            _standing(meter.tokens, quotas.tokens_per_min, now),
        )

    def _sweep(self, now: float) -> None:
        """Forget the keys that use nothing, so that those of long ago take no memory."""
        if now - self._swept_at >= MINUTE_S:
            self._swept_at = now
            self._meters = {key: meter for key, meter in self._meters.items() if not meter.is_idle(now)}


def share(quotas: Quotas, gateways: int) -> Quotas:
    """What one of so many gateways allows: an equal part, rounded down, but at least one."""
    if gateways == 1:
        return quotas
    parts = {name: limit and max(1, limit // gateways) for name, limit in quotas}
    return Quotas.model_validate(parts)


def _standing(minute: Minute, limit: int | None, now: float) -> Standing | None:
    if limit is None:
        return None
    return Standing(limit, max(0, limit - minute.used(now)), minute.reset_s(now))


def _check_requests(meter: Meter, quotas: Quotas, now: float) -> None:
    limit = quotas.requests_per_min
    if limit is not None and (wait_s := meter.requests.wait_s(1, limit, now)):
        raise QuotaExceeded(
            f"this key may make {limit} requests a minute and has: wait, or have its quota raised",
            param="requests_per_min",
            retry_after_s=wait_s,
        )
    if quotas.concurrent is not None and meter.running >= quotas.concurrent:
        raise QuotaExceeded(
            f"this key may have {quotas.concurrent} requests in flight and has: wait until one ends",
            param="concurrent",
        )


def _check_tokens(meter: Meter, quotas: Quotas, need: Need, now: float) -> None:
    limit = quotas.tokens_per_min
    if limit is None:
        return
    asked = f"{need.most_tokens} tokens were asked for ({need.prompt_tokens} of prompt, the rest to generate)"
    if need.most_tokens > limit:
        raise QuotaTooSmall(
            f"{asked}, and this key may use {limit} a minute: ask for fewer max_tokens", param="tokens_per_min"
        )
    if wait_s := meter.tokens.wait_s(need.most_tokens, limit, now):
        raise QuotaExceeded(
            f"{asked}, and this key has {limit - meter.tokens.used(now)} of its {limit} a minute left: wait, "
            "or ask for fewer max_tokens",
            param="tokens_per_min",
            retry_after_s=wait_s,
        )


def _check_bytes(meter: Meter, quotas: Quotas, need: Need) -> None:
    limit, more = quotas.resident_bytes, meter.more_bytes(need)
    if limit is None or not more:
        return
    if more > limit:
        raise QuotaTooSmall(
            f"the adapter has {more} bytes, and this key may keep {limit} loaded: use a smaller adapter",
            param="resident_bytes",
        )
    if meter.pinned_bytes + more > limit:
        raise QuotaExceeded(
            f"the adapter has {more} bytes, and this key's requests keep {meter.pinned_bytes} of its {limit} loaded: "
            "wait until one of them ends",
            param="resident_bytes",
        )
