"""The list of metrics as a page of the documentation."""

from __future__ import annotations

from service.metrics.names import Metric, all_metrics

HEAD = """\
# Metrics

`GET /metrics` of the gateway: its own series, those of all replicas (label `replica`) and of the feedback log's
owner, in Prometheus' text format or OpenMetrics, as asked for. Made from `service/metrics/names.py` by
`python -m service.metrics > docs/metrics.md`; the dashboard and the alerts are in `deploy/monitoring/`.

- Labels are bounded. A tenant or an adapter becomes a label only once the catalog has found it, the first
  `metrics.tenants` and `metrics.adapters` of them under their own names and the rest as `other`; paths and methods
  that are none of ours are `other` too.
- A histogram is three families: `_bucket`, `_sum`, `_count`.
- Several gateways tell of the same replicas: take `max by (replica)` before a sum.
- What the listener itself refuses, before there is a request, is in `quickchange_connections_refused_total` only.
- `vllm:` series are what vLLM calls the same things, for gateways that pick endpoints by them.

| name | kind | unit | labels | what it is | used by |
|---|---|---|---|---|---|
"""


def table() -> str:
    """Markdown."""
    return HEAD + "".join(map(_row, all_metrics()))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} | {metric.used_by} |\n"
