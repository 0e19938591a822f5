"""The log line of a request, written when it has ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, fields

from service.api.exchange import Exchange

log = logging.getLogger(__name__)

PROBES = frozenset({"/health", "/ready"})


@dataclass(frozen=True, slots=True)
class Line:
    """A request and its outcome. Fields are None if they do not apply."""

    request_id: str
    client_request_id: str | None
    traceparent: str | None
    method: str
    route: str | None
    """The route's template instead of the path: a bounded set of values."""
    status: int | None
    key: str | None
    """Public id of the authenticated key."""
    tenant: str | None
    """The key's tenant; for a key of all tenants, the adapter's."""
    model: str | None
    digest: str | None
    adapter: str | None
    """``acme/support``, if the catalog has it; None: the base, or no model was found."""
    prompt_tokens: int | None
    completion_tokens: int | None
    error: str | None
    reason: str | None
    seconds: float
    """Time from the arrival to the end."""

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
"""``adapter`` is for metrics only: the log has ``model``."""


def log_request(line: Line) -> None:
    """Logs the line. Probes, which need no key, are not logged at the default level."""
    happened = {name: value for name in _LOGGED if (value := getattr(line, name)) is not None}
    level = logging.DEBUG if line.route in PROBES else logging.INFO
    log.log(level, "request", extra=happened | {"seconds": round(line.seconds, 4)})
