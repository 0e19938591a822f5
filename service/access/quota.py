"""What a key, and its tenant, may use of one gateway: decisions on counts and a time that the caller tells, no clock
and no await.

    enter ──► Permit ──► reserve ──► (the engine runs) ──► release
    a request, one more       tokens, sequences and the      what of the tokens was not
    in flight                 adapter, before any work       used, the rest of it all

Several gateways do not count together: each allows an equal part. What is more than the part, and fits the whole, is
let in when the whole would have room for it as far as this gateway knows, and paid for at the part's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters_registry.records import Quotas
from service.access.minute import MINUTE_S, Minute, Taken
from service.errors import QuotaExceeded, QuotaTooSmall


class Ledger(Protocol):
    """Remembers what was taken, across restarts."""

    def note(self, name: str, kind: str, at: float, amount: int) -> None: ...
    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        """Times and amounts by name and kind, oldest first."""


class NoLedger:
    """Remembers nothing."""

    def note(self, name: str, kind: str, at: float, amount: int) -> None: ...
    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        return {}


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
    sequences: int = 1
    """Choices of all prompts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key, or its tenant, stands with one of its limits by the minute."""

    limit: int
    remaining: int
    reset_s: float


class Meter:
    """What one key, or one tenant, uses now."""

    def __init__(self, name: str = "", ledger: Ledger = NoLedger()) -> None:
        self.requests = Minute(lambda at, amount: ledger.note(name, "requests", at, amount))
        self.tokens = Minute(lambda at, amount: ledger.note(name, "tokens", at, amount))
        self.running = 0
        """Sequences; of a request whose prompts are not known yet, one."""
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


@dataclass(frozen=True, slots=True)
class Account:
    """A meter and its limits."""

    meter: Meter
    part: Quotas
    """What this gateway allows."""
    whole: Quotas
    """What all gateways allow together."""
    who: str = "this key"


@dataclass(slots=True)
class _Held:
    """What a permit holds of one account."""

    account: Account
    sequences: int = 1
    tokens: tuple[Taken, ...] = ()
    pinned: str | None = None


class Permit:
    """One request's hold on the quotas of its key and its tenant; ``release`` ends it, once."""

    def __init__(self, accounts: Sequence[Account], now: float) -> None:
        """Raises ``QuotaExceeded`` where a request more is too many; nothing is held then."""
        for account in accounts:
            _check_request(account, now)
        self._held = [_Held(account) for account in accounts]
        self._released = False
        for account in accounts:
            account.meter.running += 1
            if account.part.requests_per_min is not None:
                account.meter.requests.take(1, now)

    def reserve(self, need: Need, now: float) -> None:
        """Hold what the request needs, of every account all of it or nothing.

        Raises ``QuotaExceeded``, or ``QuotaTooSmall`` where waiting would not help.
        """
        assert not self._released
        for held in self._held:
            _check_sequences(held.account, need)
            _check_tokens(held.account, need, now)
            _check_bytes(held.account, need)
        for held in self._held:
            _take(held, need, now)

    def release(self, used_tokens: int, now: float) -> None:
        """The request has ended, however it did, and used so many tokens of those reserved."""
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
    """In messages."""


class QuotaBook:
    """The meters of all keys and tenants that used something recently, of one gateway among several."""

    def __init__(self, gateways: int = 1, ledger: Ledger = NoLedger(), now: float = 0.0) -> None:
        """What ``ledger`` remembers as of ``now`` is taken: a restart gives nobody a fresh minute."""
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
        """One more request on all of ``budgets``. Raises ``QuotaExceeded``."""
        self._sweep(now)
        accounts = (Account(self._meter(one.name), self._part(one), one.quotas, one.who) for one in budgets)
        return Permit(tuple(accounts), now)

    def standing(self, budgets: Sequence[Budget], now: float) -> tuple[Standing | None, Standing | None]:
        """Of requests and of tokens a minute, of the budget that has the least left; None is without limit."""
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
        """Forget those that use nothing, so that those of long ago take no memory."""
        if now - self._swept_at >= MINUTE_S:
            self._swept_at = now
            self._meters = {name: meter for name, meter in self._meters.items() if not meter.is_idle(now)}


def share(quotas: Quotas, gateways: int) -> Quotas:
    """What one of so many gateways allows: an equal part, rounded down, but at least one."""
    if gateways == 1:
        return quotas
    limits = ((name, getattr(quotas, name)) for name in Quotas.model_fields)  # a tenant's have its name as well
    return Quotas(**{name: limit and max(1, limit // gateways) for name, limit in limits})


def _standing(minute: Minute, limit: int | None, now: float) -> Standing | None:
    if limit is None:
        return None
    return Standing(limit, max(0, limit - minute.used(now)), minute.reset_s(now))


def _least(standings: Sequence[Standing | None]) -> Standing | None:
    return min((one for one in standings if one is not None), key=lambda one: one.remaining, default=None)


def _take(held: _Held, need: Need, now: float) -> None:
    """What was checked."""
    meter, limit = held.account.meter, held.account.part.tokens_per_min
    meter.running += need.sequences - held.sequences
    held.sequences = need.sequences
    if limit is not None:
        held.tokens = meter.tokens.borrow(need.most_tokens, limit, now)
    if need.adapter is not None:
        meter.pin(need.adapter, need.size_bytes)
        held.pinned = need.adapter


def _fits(amount: int, used: int, part: int, whole: int) -> bool:
    """Whether ``amount``, at most ``whole``, fits beside what is used.

    More than the part fits while no more than the part is used: the rest of the whole is lent to it.
    """
    return used + amount <= part if amount <= part else used <= part and used + amount <= whole


def _check_request(account: Account, now: float) -> None:
    limit, meter = account.part.requests_per_min, account.meter
    if limit is not None and (wait_s := meter.requests.wait_s(1, limit, now)):
        raise QuotaExceeded(
            f"{account.who} may make {limit} requests a minute and has: wait, or have its quota raised",
            param="requests_per_min",
            retry_after_s=wait_s,
        )
    concurrent = account.part.concurrent
    if concurrent is not None and meter.running >= concurrent:
        raise QuotaExceeded(
            f"{account.who} may have {concurrent} choices in flight and has: wait until one ends", param="concurrent"
        )


def _check_sequences(account: Account, need: Need) -> None:
    part, whole = account.part.concurrent, account.whole.concurrent
    if part is None or whole is None:
        return
    others = account.meter.running - 1  # its own one is counted already
    if need.sequences > whole:
        raise QuotaTooSmall(
            f"{need.sequences} choices were requested (prompts × n), and {account.who} may have {whole} in flight: "
            "request fewer",
            param="concurrent",
        )
    if not _fits(need.sequences, others, part, whole):
        raise QuotaExceeded(
            f"{need.sequences} choices were requested (prompts × n), and {account.who} has {others} of its {part} in "
            "flight: wait until they end",
            param="concurrent",
        )


def _check_tokens(account: Account, need: Need, now: float) -> None:
    part, whole, meter = account.part.tokens_per_min, account.whole.tokens_per_min, account.meter
    if part is None or whole is None:
        return
    asked = f"{need.most_tokens} tokens were requested ({need.prompt_tokens} of prompt, the rest to generate)"
    if need.most_tokens > whole:
        raise QuotaTooSmall(
            f"{asked}, and {account.who} may use {whole} a minute: request fewer max_tokens", param="tokens_per_min"
        )
    if wait_s := _tokens_wait_s(meter.tokens, need.most_tokens, part, whole, now):
        left = max(0, part - meter.tokens.used(now))
        raise QuotaExceeded(
            f"{asked}, and {account.who} has {left} of its {part} a minute left: wait, or request fewer max_tokens",
            param="tokens_per_min",
            retry_after_s=wait_s,
        )


def _tokens_wait_s(minute: Minute, amount: int, part: int, whole: int, now: float) -> float:
    """As ``_fits``, of a minute: how long until it does."""
    if amount <= part:
        return minute.wait_s(amount, part, now)
    return max(minute.wait_s(0, part, now), minute.wait_s(amount, whole, now))


def _check_bytes(account: Account, need: Need) -> None:
    part, whole, meter = account.part.resident_bytes, account.whole.resident_bytes, account.meter
    more = meter.more_bytes(need)
    if part is None or whole is None or not more:
        return
    if more > whole:
        raise QuotaTooSmall(
            f"the adapter has {more} bytes, and {account.who} may keep {whole} loaded: use a smaller adapter",
            param="resident_bytes",
        )
    if not _fits(more, meter.pinned_bytes, part, whole):
        raise QuotaExceeded(
            f"the adapter has {more} bytes, and requests of {account.who} keep {meter.pinned_bytes} of its {part} "
            "loaded: wait until one of them ends",
            param="resident_bytes",
        )
