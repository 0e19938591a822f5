"""One exposition for the gateway and all processes behind it: each family once, state as of this scrape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.registry import Collector

from service.metrics.catalog import catalog_families
from service.metrics.fleet import fleet_families
from service.metrics.gateway import GatewayMetrics
from service.report import CatalogReport, FleetReport


@dataclass(frozen=True, slots=True)
class _Scrape(Collector):
    metrics: GatewayMetrics
    fleet: FleetReport
    catalog: CatalogReport

    def collect(self) -> Iterator[Family]:
        for family in self.metrics.registry.collect():
            # The creation time of each child would be a further series that is not used.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
        yield from catalog_families(self.catalog, time.monotonic() - self.metrics.started_at)
        yield from fleet_families(self.fleet, time.time())


def exposition(metrics: GatewayMetrics, fleet: FleetReport, catalog: CatalogReport, accept: str) -> tuple[bytes, str]:
    """The body and its content type, in the format that the ``Accept`` header prefers."""
    encode, content_type = choose_encoder(accept)
    # All names are valid and need no escaping. But prometheus_client 0.26 treats a colon as invalid in OpenMetrics
    # samples, though not in HELP: Prometheus would store vllm_, and vLLM's dashboards read vllm:.
    body = encode(_Scrape(metrics, fleet, catalog), escaping=ALLOWUTF8)  # type: ignore[call-arg]
    return body, content_type
