"""Whether a request fits the limits of a key or a tenant. These functions change nothing."""

from __future__ import annotations

from service.access.meter import Account, Need
from service.access.minute import Minute
from service.errors import QuotaExceeded, QuotaTooSmall


def check_request(account: Account, now: float) -> None:
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


def check_sequences(account: Account, need: Need) -> None:
    part, whole = account.part.concurrent, account.whole.concurrent
    if part is None or whole is None:
        return
    others = account.meter.running - 1  # the request itself is counted already
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


def check_tokens(account: Account, need: Need, now: float) -> None:
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


def check_bytes(account: Account, need: Need) -> None:
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


def _fits(amount: int, used: int, part: int, whole: int) -> bool:
    """Whether ``amount`` (at most ``whole``) fits in addition to ``used``.

    While at most ``part`` is used, an amount above it also fits: the excess is borrowed from the whole.
    """
    return used + amount <= part if amount <= part else used <= part and used + amount <= whole


def _tokens_wait_s(minute: Minute, amount: int, part: int, whole: int, now: float) -> float:
    """As ``_fits`` for a limit per minute: seconds until the amount fits."""
    if amount <= part:
        return minute.wait_s(amount, part, now)
    return max(minute.wait_s(0, part, now), minute.wait_s(amount, whole, now))
