"""A generation request on its key's quota: let in, told how the key stands, and let go once, however it ends."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.keyring import Caller
from service.access.quota import Budget, Need, Permit, QuotaBook, Standing
from service.api.access_log import Record, record_of
from service.api.auth import caller_of
from service.api.disconnect import ClientGone
from service.api.jobs import Job

_HOLD = "quickchange.hold"


@dataclass(frozen=True, slots=True)
class _Hold:
    book: QuotaBook
    caller: Caller
    permit: Permit


class QuotaGate:
    """Pure ASGI, so that it lasts as long as the answer does: also a stream's, also one that nobody reads."""

    def __init__(self, app: ASGIApp, book: QuotaBook) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller, record = caller_of(scope), record_of(scope)
        try:
            permit = self._book.enter(_budgets(caller), _now())
        finally:
            _tell(self._book, caller, record)
        scope[_HOLD] = _Hold(self._book, caller, permit)
        failed = False
        try:
            await self._app(scope, receive, send)
        except (ClientGone, ClientDisconnect):
            raise
        except Exception:
            failed = True
            raise
        finally:
            permit.release(_used(record, failed), _now())


def reserve(scope: Scope, job: Job) -> None:
    """Take what the job may use of the quota. Raises ``QuotaExceeded`` or ``QuotaTooSmall``."""
    hold = scope[_HOLD]
    assert isinstance(hold, _Hold)
    try:
        hold.permit.reserve(_need(job), _now())
    finally:
        _tell(hold.book, hold.caller, record_of(scope))


def _need(job: Job) -> Need:
    prompt = sum(len(request.prompt) for request in job.requests)
    generated = sum(request.n * request.sampling.max_tokens for request in job.requests)
    ref = job.served.adapter
    digest = None if ref is None else ref.digest
    sequences = sum(request.n for request in job.requests)
    return Need(prompt, prompt + generated, digest, job.served.size_bytes, sequences)


def _budgets(caller: Caller) -> tuple[Budget, ...]:
    """The key's, and where the key is a tenant's, the tenant's."""
    own = Budget(caller.id, caller.quotas)
    if caller.tenant_quotas is None:
        return (own,)
    return own, Budget(f"tenant {caller.tenant}", caller.tenant_quotas, "this key's tenant")


def _used(record: Record, failed: bool) -> int:
    """Prompt and answer; nothing of a request that failed before its first token."""
    completion = record.completion_tokens or 0
    return 0 if failed and not completion else (record.prompt_tokens or 0) + completion


def _tell(book: QuotaBook, caller: Caller, record: Record) -> None:
    requests, tokens = book.standing(_budgets(caller), _now())
    record.headers |= _headers("requests", requests) | _headers("tokens", tokens)


def _headers(what: str, standing: Standing | None) -> dict[str, str]:
    """As OpenAI writes them; none of a limit that the key does not have."""
    if standing is None:
        return {}
    return {
        f"x-ratelimit-limit-{what}": str(standing.limit),
        f"x-ratelimit-remaining-{what}": str(standing.remaining),
        f"x-ratelimit-reset-{what}": duration(standing.reset_s),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes a time to wait: ``0s``, ``120ms``, ``7.66s``, ``1m0s``; in milliseconds, rounded up."""
    ms = math.ceil(seconds * 1000)
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    return f"{minutes}m" * (minutes > 0) + f"{ms / 1000:g}s"


def _now() -> float:
    return asyncio.get_running_loop().time()
