"""One exposition of the gateway and all behind it: each family once, live state as of this scrape."""

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
            # When each child was made is a second series for each that nobody looks at.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
        yield from catalog_families(self.catalog, time.monotonic() - self.metrics.started_at)
        yield from fleet_families(self.fleet, time.time())


def exposition(metrics: GatewayMetrics, fleet: FleetReport, catalog: CatalogReport, accept: str) -> tuple[bytes, str]:
    """The body and its content type, in the format that the ``Accept`` header prefers."""
    encode, content_type = choose_encoder(accept)
    # Our names are legal everywhere and need no escape, but in OpenMetrics prometheus_client 0.26 takes a colon for
    # illegal in samples, unlike in their HELP: Prometheus would store vllm_ where vLLM's dashboards look for vllm:.
    body = encode(_Scrape(metrics, fleet, catalog), escaping=ALLOWUTF8)  # type: ignore[call-arg]
    return body, content_type
