"""What one request did, for its log line; it travels in the ASGI scope."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from starlette.types import Scope

log = logging.getLogger(__name__)

_KEY = "quickchange.record"
PROBES = frozenset({"/health", "/ready"})


@dataclass
class Record:
    """Filled in by the handlers, read once by the guard when the request has ended."""

    request_id: str
    method: str
    client_request_id: str | None = None
    """The id that the client or its proxy gave the request, where it came in a form fit for a log."""
    traceparent: str | None = None
    arrived: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """On the event loop's clock, in seconds: deadlines count from it."""
    route: str | None = None
    """The route's template, never the path: a bounded set."""
    status: int | None = None
    model: str | None = None
    digest: str | None = None
    key: str | None = None
    """The public id of the key that was let in."""
    tenant: str | None = None
    """For whom it is asked, once the model is found: the key's tenant, or of a key for all the adapter's."""
    adapter: str | None = None
    """``acme/support``, found in the catalog; None is the base, or a request that found nothing."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    """The error's code, also of one told inside a stream."""
    reason: str | None = None
    """What of the key refused the request, finer than the code: of a bounded set, and never told."""
    headers: dict[str, str] = field(default_factory=dict)
    """Told with the answer, whatever it is."""

    def seconds(self) -> float:
        """Since it arrived."""
        return asyncio.get_running_loop().time() - self.arrived

    def fields(self) -> dict[str, object]:
        """The log line's fields; what did not happen is left out."""
        names = (
            "request_id",
            "client_request_id",
            "traceparent",
            "method",
            "route",
            "status",
            "key",
            "tenant",
            "model",
            "digest",
            "prompt_tokens",
            "completion_tokens",
            "error",
            "reason",
        )
        present = {name: value for name in names if (value := getattr(self, name)) is not None}
        return present | {"seconds": round(self.seconds(), 4)}


def attach(scope: Scope, record: Record) -> None:
    scope[_KEY] = record


def record_of(scope: Scope) -> Record:
    """The record of the request that ``scope`` belongs to; the guard attached it."""
    record = scope[_KEY]
    assert isinstance(record, Record)
    return record


def log_request(record: Record) -> None:
    """The one line a request leaves in the log; probes, which anybody may send, leave none."""
    log.log(logging.DEBUG if record.route in PROBES else logging.INFO, "request", extra=record.fields())
