"""The list of metrics as a page of the documentation."""

from __future__ import annotations

from service.metrics.names import Metric, all_metrics

HEAD = """\
# Metrics

`GET /metrics` of the gateway returns its own series, those of all replicas (label `replica`), and those of the
feedback log's owner. The format is Prometheus' text format or OpenMetrics, by the `Accept` header. This page is
generated from `service/metrics/names.py` by `python -m service.metrics > docs/metrics.md`. The dashboard and the
alerts are in `deploy/monitoring/`.

- Labels are bounded. A tenant or an adapter becomes a label only after the catalog has found it. The first
  `metrics.tenants` tenants and `metrics.adapters` adapters have their own names; the others are `other`. Unknown
  paths and methods are `other` too.
- A histogram consists of three families: `_bucket`, `_sum`, `_count`.
- Several gateways report the same replicas: take `max by (replica)` before a sum.
- Connections that the listener refuses before a request exists are in `quickchange_connections_refused_total` only.
- `vllm:` series have vLLM's names, for gateways that choose endpoints by them.

| name | kind | unit | labels | what it is | used by |
|---|---|---|---|---|---|
"""


def table() -> str:
    """Markdown."""
    return HEAD + "".join(map(_row, all_metrics()))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} | {metric.used_by} |\n"
