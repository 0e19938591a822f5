"""Builds families of samples from values, one function per kind."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from service.metrics.names import Metric
from service.support.counting import Buckets

Labels = tuple[str, ...]
"""Values in the order of the metric's labels."""


def gauge(metric: Metric, samples: Iterable[tuple[Labels, float]]) -> Family:
    family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def counter(metric: Metric, samples: Iterable[tuple[Labels, float]]) -> Family:
    family = CounterMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def histogram(metric: Metric, samples: Iterable[tuple[Labels, Buckets]]) -> Family:
    family = HistogramMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, buckets in samples:
        bounds = (*map(floatToGoString, buckets.bounds), "+Inf")
        family.add_metric(labels, list(zip(bounds, accumulate(buckets.counts), strict=True)), buckets.total)
    return family
