"""The one line that a request leaves in the log, written when it has ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, fields

from service.api.exchange import Exchange

log = logging.getLogger(__name__)

PROBES = frozenset({"/health", "/ready"})


@dataclass(frozen=True, slots=True)
class Line:
    """What a request was and what became of it. What did not happen is None."""

    request_id: str
    client_request_id: str | None
    traceparent: str | None
    method: str
    route: str | None
    """The route's template, never the path: a bounded set."""
    status: int | None
    key: str | None
    """The public id of the key that was let in."""
    tenant: str | None
    """For whom it is asked: the key's tenant, or of a key for all the adapter's."""
    model: str | None
    digest: str | None
    adapter: str | None
    """``acme/support``, found in the catalog; None is the base, or a request that found nothing."""
    prompt_tokens: int | None
    completion_tokens: int | None
    error: str | None
    reason: str | None
    seconds: float
    """From the arrival to the end."""

    @classmethod
    def of(cls, exchange: Exchange, status: int | None, route: str | None) -> Line:
        served, job, usage = exchange.served, exchange.job, exchange.usage
        worn = () if served is None else served.adapters
        return cls(
            request_id=exchange.request_id,
            client_request_id=exchange.client_request_id,
            traceparent=exchange.traceparent,
            method=exchange.method,
            route=route,
            status=status,
            key=None if exchange.caller is None else exchange.caller.id,
            tenant=None if served is None else served.tenant,
            model=None if served is None else served.model,
            digest=None if served is None else served.digest,
            adapter="+".join(f"{ref.tenant}/{ref.name}" for ref in worn) or None,
            prompt_tokens=None if job is None else job.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion,
            error=exchange.error,
            reason=exchange.reason,
            seconds=asyncio.get_running_loop().time() - exchange.arrived,
        )


_LOGGED = tuple(field.name for field in fields(Line) if field.name not in ("adapter", "seconds"))
"""The model says what ``adapter`` says, which is for metrics."""


def log_request(line: Line) -> None:
    """Probes, which anybody may send, leave no line at the usual level."""
    happened = {name: value for name in _LOGGED if (value := getattr(line, name)) is not None}
    level = logging.DEBUG if line.route in PROBES else logging.INFO
    log.log(level, "request", extra=happened | {"seconds": round(line.seconds, 4)})
