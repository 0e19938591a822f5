"""The state of the gateway's copy of the registry, as series."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric as Family

from service.metrics import names
from service.metrics.families import counter, gauge
from service.report import CatalogReport


def catalog_families(catalog: CatalogReport, up_s: float) -> Iterator[Family]:
    """``up_s``: the process' age in seconds, used as the age of the copy if the registry never answered."""
    yield gauge(names.REGISTRY_UP, [((), catalog.reachable)])
    yield gauge(names.CATALOG_AGE_S, [((), up_s if catalog.age_s is None else catalog.age_s)])
    yield gauge(names.CATALOG_SEQ, [((), catalog.seq or 0)])
    yield gauge(names.CATALOG_ADAPTERS, [((), catalog.adapters)])
    yield gauge(names.KEYS_LOST, [((), catalog.keys_lost)])
    yield counter(names.RESTORES, [((), catalog.restores)])
    yield gauge(names.CONTESTED_KEYS, [((), len(catalog.contested))])
