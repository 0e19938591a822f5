"""Counters and histograms of one gateway, updated at each event."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from adapters_registry.edge.connections import ConnectionReport
from adapters_registry.records import Quotas
from service.errors import all_errors
from service.feedback.said import KINDS
from service.metrics import names
from service.metrics.labels import OTHER, Capped
from service.metrics.listener import Connected
from service.metrics.names import Metric
from service.settings import MetricsOptions
from service.values import ServedBase

BASE = "base"
"""The label of requests for the base; never an adapter's name, which has a slash."""
METHODS = ("GET", "HEAD", "OPTIONS", "POST")
REFUSED = (
    "body_too_large",
    "idempotency_conflict",
    "invalid_value",
    "overloaded",
    "response_not_found",
    "storage_failed",
    "storage_full",
    "storage_in_use",
    "unknown_parameter",
)
"""Expected error codes of refused feedback; other codes become series when they happen."""
KEY_REASONS = (
    "expired",
    "keyless",
    "lost",
    "malformed",
    "missing",
    "scope",
    "stale",
    "unknown",
    "wrong",
    *sorted(Quotas.model_fields),
)
"""Reasons why a key is refused. A revoked key is unknown; keyless: the request needs a key."""
DURATION_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
FIRST_TOKEN_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
INTER_TOKEN_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Ended(Protocol):
    """A request that has ended (``service.api.access_log.Line``)."""

    @property
    def method(self) -> str: ...
    @property
    def route(self) -> str | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def adapter(self) -> str | None: ...
    @property
    def prompt_tokens(self) -> int | None: ...
    @property
    def completion_tokens(self) -> int | None: ...
    @property
    def seconds(self) -> float: ...


class GatewayMetrics:
    """Counters and histograms in the given registry. Belongs to one event loop."""

    def __init__(self, registry: CollectorRegistry, options: MetricsOptions) -> None:
        self.registry = registry
        self._tenants = Capped(options.tenants)
        self._adapters = Capped(options.adapters)
        self._requests = _counter(names.REQUESTS, registry)
        self._errors = _counter(names.ERRORS, registry)
        self._key_refusals = _counter(names.KEY_REFUSALS, registry)
        self._in_flight = Gauge(names.IN_FLIGHT.name, names.IN_FLIGHT.help, registry=registry)
        self._tenant_requests = _counter(names.TENANT_REQUESTS, registry)
        self._adapter_requests = _counter(names.ADAPTER_REQUESTS, registry)
        self._prompt_tokens = _counter(names.PROMPT_TOKENS, registry)
        self._completion_tokens = _counter(names.COMPLETION_TOKENS, registry)
        self._seconds = _histogram(names.DURATION_S, registry, DURATION_S)
        self._first_token = _histogram(names.FIRST_TOKEN_S, registry, FIRST_TOKEN_S)
        self._inter_token = _histogram(names.INTER_TOKEN_S, registry, INTER_TOKEN_S)
        self._events = _counter(names.FEEDBACK_EVENTS, registry)
        self._duplicates = _counter(names.FEEDBACK_DUPLICATES, registry)
        self._refused = _counter(names.FEEDBACK_REFUSED, registry)
        self._ignored = _counter(names.PARAMETERS_IGNORED, registry)
        self.started_at = time.monotonic()
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Creates series with 0: the rate of a missing series is no value, and an alert on it never fires."""
        for code in sorted({error.code for error in all_errors()}):
            self._errors.labels(code)
        for reason in KEY_REASONS:
            self._key_refusals.labels(reason)
        for code in REFUSED:
            self._refused.labels(code)
        for known in ("hint", "unknown"):
            self._ignored.labels(known)
        for kind in KINDS:
            self._events.labels(kind)
            self._duplicates.labels(kind)

    def serves(self, base: ServedBase) -> None:
        """Sets the info metric of this gateway."""
        info = Gauge(names.BUILD.name, names.BUILD.help, names.BUILD.labels, registry=self.registry)
        info.labels(version("quickchange"), base.name, base.digest).set(1)

    def in_flight_is(self, read: Callable[[], int]) -> None:
        """``read`` is called at every scrape."""
        self._in_flight.set_function(read)

    def connections_are(self, read: Callable[[], ConnectionReport]) -> None:
        """``read`` is called at every scrape."""
        self.registry.register(Connected(read))

    def request_ended(self, ended: Ended) -> None:
        """Call it once per request, whether or not it succeeded."""
        # Methods and paths that the API does not have are chosen by clients, so they are no labels.
        method = ended.method if ended.method in METHODS else OTHER
        route = ended.route or OTHER
        self._requests.labels(method, route, str(ended.status or OTHER)).inc()
        self._seconds.labels(route).observe(ended.seconds)
        if ended.error is not None:
            self._errors.labels(ended.error).inc()
        if ended.reason is not None:
            self._key_refusals.labels(ended.reason).inc()
        if ended.tenant is not None:
            tenant = self._tenants(ended.tenant)
            self._tenant_requests.labels(tenant).inc()
            self._prompt_tokens.labels(tenant).inc(ended.prompt_tokens or 0)
            self._completion_tokens.labels(tenant).inc(ended.completion_tokens or 0)
            self._adapter_requests.labels(BASE if ended.adapter is None else self._adapters(ended.adapter)).inc()

    def parameters_ignored(self, *, hints: int, unknown: int) -> None:
        """Call it once per request, with the numbers of its ignored fields."""
        self._ignored.labels("hint").inc(hints)
        self._ignored.labels("unknown").inc(unknown)

    def first_token(self, seconds: float) -> None:
        self._first_token.observe(seconds)

    def inter_token(self, seconds: float) -> None:
        self._inter_token.observe(seconds)

    def feedback_accepted(self, kind: str, duplicate: bool) -> None:
        """Call it once per acknowledged event."""
        (self._duplicates if duplicate else self._events).labels(kind).inc()

    def feedback_refused(self, code: str) -> None:
        """Call it once per refused request with feedback; ``code`` is the error's."""
        self._refused.labels(code).inc()


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.family, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry, bounds: tuple[float, ...]) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, buckets=bounds, registry=registry)
