"""The quota of a generation request's key: admits the request, reports what is left, and releases it once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect

from service.access.keyring import Caller
from service.access.meter import Need
from service.access.quota import Budget, Permit, QuotaBook, Standing
from service.api.disconnect import ClientGone
from service.api.exchange import Exchange
from service.api.job import Job, Usage


class QuotaGate:
    """Admits requests by the quotas of their keys and tenants."""

    def __init__(self, book: QuotaBook) -> None:
        self._book = book

    @contextmanager
    def enter(self, caller: Caller, exchange: Exchange) -> Iterator[Hold]:
        """Counts one more request during the block. Raises ``QuotaExceeded``."""
        hold = Hold(self._book, caller, exchange)
        failed = False
        try:
            yield hold
        except (ClientGone, ClientDisconnect):
            raise
        except Exception:
            failed = True
            raise
        finally:
            hold.release(failed=failed)


class Hold:
    """The quotas that one request holds; the answer's headers report the state of the limits."""

    def __init__(self, book: QuotaBook, caller: Caller, exchange: Exchange) -> None:
        self._book = book
        self._budgets = _budgets(caller)
        self._exchange = exchange
        self.usage: Usage | None = None
        """Tokens of the request's job so far; None until it runs."""
        try:
            self._permit: Permit = book.enter(self._budgets, _now())
        finally:
            self._set_headers()

    def reserve(self, job: Job) -> None:
        """Reserve what the job may use. Raises ``QuotaExceeded`` or ``QuotaTooSmall``."""
        try:
            self._permit.reserve(_need(job), _now())
        finally:
            self._set_headers()

    def release(self, *, failed: bool) -> None:
        """The request has ended: return what it did not use."""
        self._permit.release(billed(self.usage, failed=failed), _now())

    def _set_headers(self) -> None:
        requests, tokens = self._book.standing(self._budgets, _now())
        self._exchange.headers |= _headers("requests", requests) | _headers("tokens", tokens)


def billed(usage: Usage | None, *, failed: bool) -> int:
    """The tokens that count: prompt and answer; 0 if the request failed before its first token."""
    return 0 if usage is None or (failed and not usage.completion) else usage.total


def _need(job: Job) -> Need:
    generated = sum(request.n * request.sampling.max_tokens for request in job.requests)
    digest = job.served.adapters.digest or None
    sequences = sum(request.n for request in job.requests)
    return Need(job.prompt_tokens, job.prompt_tokens + generated, digest, job.served.size_bytes, sequences)


def _budgets(caller: Caller) -> tuple[Budget, ...]:
    """The key's budget and, if the key has a tenant, the tenant's."""
    own = Budget(caller.id, caller.quotas)
    if caller.tenant_quotas is None:
        return (own,)
    return own, Budget(f"tenant {caller.tenant}", caller.tenant_quotas, "this key's tenant")


def _headers(what: str, standing: Standing | None) -> dict[str, str]:
    """OpenAI's headers for one limit; empty if the key does not have it."""
    if standing is None:
        return {}
    return {
        f"x-ratelimit-limit-{what}": str(standing.limit),
        f"x-ratelimit-remaining-{what}": str(standing.remaining),
        f"x-ratelimit-reset-{what}": duration(standing.reset_s),
    }


def duration(seconds: float) -> str:
    """A time in OpenAI's form, rounded up to milliseconds: ``0s``, ``120ms``, ``7.66s``, ``1m0s``."""
    ms = math.ceil(seconds * 1000)
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    return f"{minutes}m" * (minutes > 0) + f"{ms / 1000:g}s"


def _now() -> float:
    return asyncio.get_running_loop().time()
