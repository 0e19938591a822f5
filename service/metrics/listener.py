"""The gateway's connections, as series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from adapters_registry.edge.connections import ConnectionReport, Reason
from service.metrics import names
from service.metrics.families import counter, gauge


@dataclass(frozen=True, slots=True)
class Connected(Collector):
    """Reads the listener's counts at every scrape."""

    read: Callable[[], ConnectionReport]

    def collect(self) -> Iterator[Family]:
        report = self.read()
        yield gauge(names.CONNECTIONS, [((), report.open)])
        refused = [((reason.value,), report.refused.get(reason, 0)) for reason in Reason]
        yield counter(names.CONNECTIONS_REFUSED, refused)
