"""Quotas of keys and tenants on one gateway. Plain functions of counts and the caller's time: no clock, no await.

    enter ──► Permit ──► reserve ──► (the engine runs) ──► release
    counts one request        tokens, sequences and the      returns unused tokens and
    in flight                 adapter, before any work       everything else

Gateways do not exchange counts: each allows an equal part of a quota. An amount above the part is admitted if it fits
the whole, as far as this gateway knows, and is paid back at the rate of the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters_registry.records import Quotas
from service.access.limits import check_bytes, check_request, check_sequences, check_tokens
from service.access.meter import Account, Ledger, Meter, Need, NoLedger
from service.access.minute import MINUTE_S, Minute, Taken


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one limit per minute of a key or its tenant."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(slots=True)
class _Held:
    """What a permit has taken from one account."""

    account: Account
    sequences: int = 1
    tokens: tuple[Taken, ...] = ()
    pinned: str | None = None


class Permit:
    """One request's share of the quotas of its key and its tenant, until ``release``."""

    def __init__(self, accounts: Sequence[Account], now: float) -> None:
        """Raises ``QuotaExceeded``, and takes nothing, if one more request does not fit."""
        for account in accounts:
            check_request(account, now)
        self._held = [_Held(account) for account in accounts]
        self._released = False
        for account in accounts:
            account.meter.running += 1
            if account.part.requests_per_min is not None:
                account.meter.requests.take(1, now)

    def reserve(self, need: Need, now: float) -> None:
        """Take what the request needs from all accounts, or nothing.

        Raises ``QuotaExceeded``, or ``QuotaTooSmall`` if waiting would not help.
        """
        assert not self._released
        for held in self._held:
            check_sequences(held.account, need)
            check_tokens(held.account, need, now)
            check_bytes(held.account, need)
        for held in self._held:
            _take(held, need, now)

    def release(self, used_tokens: int, now: float) -> None:
        """The request has ended and used ``used_tokens`` of its reserved tokens."""
        assert not self._released
        self._released = True
        for held in self._held:
            meter = held.account.meter
            meter.running -= held.sequences
            back = max(0, sum(taken.amount for taken in held.tokens) - used_tokens)
            for taken in reversed(held.tokens):
                amount = min(back, taken.amount)
                back -= amount
                meter.tokens.give_back(taken, amount, now)
            if held.pinned is not None:
                meter.unpin(held.pinned)


@dataclass(frozen=True, slots=True)
class Budget:
    """The quotas of a key, or of a tenant."""

    name: str
    quotas: Quotas
    who: str = "this key"
    """The owner, in messages."""


class QuotaBook:
    """The meters of all keys and tenants that used one gateway recently."""

    def __init__(self, gateways: int = 1, ledger: Ledger = NoLedger(), now: float = 0.0) -> None:
        """Begins with the use that ``ledger`` stored, so that a restart does not reset quotas."""
        self._gateways = gateways
        self._ledger = ledger
        self._meters: dict[str, Meter] = {}
        self._swept_at = float("-inf")
        for (name, kind), taken in ledger.recall(now).items():
            meter = self._meter(name)
            (meter.tokens if kind == "tokens" else meter.requests).recall(taken)

    def __len__(self) -> int:
        return len(self._meters)

    def enter(self, budgets: Sequence[Budget], now: float) -> Permit:
        """Count one more request in all ``budgets``. Raises ``QuotaExceeded``."""
        self._sweep(now)
        accounts = (Account(self._meter(one.name), self._part(one), one.quotas, one.who) for one in budgets)
        return Permit(tuple(accounts), now)

    def standing(self, budgets: Sequence[Budget], now: float) -> tuple[Standing | None, Standing | None]:
        """For requests and for tokens per minute, the state of the budget with the least left; None: no limit."""
        requests, tokens = [], []
        for one in budgets:
            meter, part = self._meters.get(one.name) or Meter(), self._part(one)
            requests.append(_standing(meter.requests, part.requests_per_min, now))
            tokens.append(_standing(meter.tokens, part.tokens_per_min, now))
        return _least(requests), _least(tokens)

    def _meter(self, name: str) -> Meter:
        if name not in self._meters:
            self._meters[name] = Meter(name, self._ledger)
        return self._meters[name]

    def _part(self, budget: Budget) -> Quotas:
        return share(budget.quotas, self._gateways)

    def _sweep(self, now: float) -> None:
        """Remove idle meters, which would otherwise accumulate."""
        if now - self._swept_at >= MINUTE_S:
            self._swept_at = now
            self._meters = {name: meter for name, meter in self._meters.items() if not meter.is_idle(now)}


def share(quotas: Quotas, gateways: int) -> Quotas:
    """The quotas of one of ``gateways`` gateways: an equal part, rounded down, but at least one."""
    if gateways == 1:
        return quotas
    limits = ((name, getattr(quotas, name)) for name in Quotas.model_fields)  # a tenant's quotas also have its name
    return Quotas(**{name: limit and max(1, limit // gateways) for name, limit in limits})


def _standing(minute: Minute, limit: int | None, now: float) -> Standing | None:
    if limit is None:
        return None
    return Standing(limit, max(0, limit - minute.used(now)), minute.reset_s(now))


def _least(standings: Sequence[Standing | None]) -> Standing | None:
    return min((one for one in standings if one is not None), key=lambda one: one.remaining, default=None)


def _take(held: _Held, need: Need, now: float) -> None:
    """Takes what was checked before."""
    meter, limit = held.account.meter, held.account.part.tokens_per_min
    meter.running += need.sequences - held.sequences
    held.sequences = need.sequences
    if limit is not None:
        held.tokens = meter.tokens.borrow(need.most_tokens, limit, now)
    if need.adapter is not None:
        meter.pin(need.adapter, need.size_bytes)
        held.pinned = need.adapter
