"""The Grafana dashboard, made from the list of metrics.

python deploy/monitoring/dashboard.py > deploy/monitoring/dashboard.json
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from service.metrics import names
from service.metrics.names import Metric

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WINDOW = "$__rate_interval"
WIDTH, HEIGHT = 8, 7
"""Size of a panel; a row has three."""

Target = tuple[str, str]
"""A query and its legend."""
Panel = tuple[str, str, list[Target]]
"""Title, Grafana's name of the unit, queries."""


# -- queries --------------------------------------------------------------------------------------------------


def select(metric: Metric, suffix: str = "", **matchers: str) -> str:
    """The metric's series; replicas and tenants are selected by the dashboard's variables."""
    for label in ("replica", "tenant"):
        if label in metric.labels:
            matchers.setdefault(label, f"${label}")
    inside = ",".join(f'{label}=~"{value}"' for label, value in matchers.items())
    return f"{metric.name}{suffix}{{{inside}}}" if inside else metric.name + suffix


def total(metric: Metric, *by: str, suffix: str = "", **matchers: str) -> str:
    """The sum over all labels but ``by``; of counters, rates. A replica that several gateways report counts once."""
    series = select(metric, suffix, **matchers)
    if metric.kind != "gauge":
        series = f"rate({series}[{WINDOW}])"
    if "replica" in metric.labels:
        series = f"max by ({', '.join(dict.fromkeys(('replica', *by)))}) ({series})"
    if "replica" in by:
        return series
    return f"sum by ({', '.join(by)}) ({series})" if by else f"sum({series})"


def quantiles(metric: Metric, *by: str, of: tuple[float, ...] = (0.5, 0.95, 0.99)) -> list[Target]:
    legend = "".join(f"{{{{{label}}}}} " for label in by)
    buckets = total(metric, "le", *by, suffix="_bucket")
    return [(f"histogram_quantile({q:g}, {buckets})", f"{legend}p{q * 100:g}") for q in of]


def mean(metric: Metric, *by: str) -> str:
    return f"{total(metric, *by, suffix='_sum')} / {total(metric, *by, suffix='_count')}"


# -- panels ---------------------------------------------------------------------------------------------------

ROWS: dict[str, list[Panel]] = {
    "Traffic": [
        ("Requests by status", "reqps", [(total(names.REQUESTS, "status"), "{{status}}")]),
        ("Errors by code", "reqps", [(total(names.ERRORS, "code"), "{{code}}")]),
        ("Request fields ignored", "reqps", [(total(names.PARAMETERS_IGNORED, "known"), "{{known}}")]),
        ("Keys refused by reason", "reqps", [(total(names.KEY_REFUSALS, "reason"), "{{reason}}")]),
        ("Requests by tenant", "reqps", [(total(names.TENANT_REQUESTS, "tenant"), "{{tenant}}")]),
        ("In flight", "short", [(total(names.IN_FLIGHT), "requests"), (total(names.CONNECTIONS), "connections")]),
        ("Connections refused by reason", "reqps", [(total(names.CONNECTIONS_REFUSED, "reason"), "{{reason}}")]),
        (
            "Replicas",
            "short",
            [(f"max({names.REPLICAS.name})", "known"), (f"max({names.REPLICAS_SILENT.name})", "silent")],
        ),
        ("Release and base", "short", [(total(names.BUILD, "version", "base"), "{{version}} {{base}}")]),
    ],
    "Latency": [
        ("First token", "s", quantiles(names.FIRST_TOKEN_S)),
        ("Between tokens", "s", quantiles(names.INTER_TOKEN_S)),
        ("Whole request", "s", quantiles(names.DURATION_S, "route", of=(0.5, 0.95))),
    ],
    "Tokens": [
        ("Prompt tokens by tenant", "short", [(total(names.PROMPT_TOKENS, "tenant"), "{{tenant}}")]),
        ("Completion tokens by tenant", "short", [(total(names.COMPLETION_TOKENS, "tenant"), "{{tenant}}")]),
        (
            "Prompt tokens that the prefix cache had",
            "percentunit",
            [(f"{total(names.PREFIX_HIT_TOKENS)} / {total(names.ADMITTED_TOKENS)}", "hits")],
        ),
    ],
    "Engine": [
        (
            "Sequences",
            "short",
            [
                (total(names.RUNNING, "replica"), "{{replica}} running"),
                (total(names.WAITING, "replica"), "{{replica}} waiting"),
            ],
        ),
        ("Wait for the first step", "s", quantiles(names.QUEUE_S)),
        (
            "KV blocks in use",
            "percentunit",
            [(f"{total(names.KV_BLOCKS_USED, 'replica')} / {total(names.KV_BLOCKS, 'replica')}", "{{replica}}")],
        ),
        (
            "Batch",
            "short",
            [
                (mean(names.STEP_ROWS, "replica"), "{{replica}} rows"),
                (mean(names.STEP_SEQUENCES, "replica"), "{{replica}} sequences"),
            ],
        ),
        ("Step", "s", quantiles(names.STEP_S, "replica", of=(0.5, 0.95))),
        (
            "Preemptions and failed steps",
            "ops",
            [
                (total(names.PREEMPTIONS, "replica"), "{{replica}} preemptions"),
                (total(names.FAILED_STEPS, "replica"), "{{replica}} failed steps"),
                (total(names.FAILED_ROWS, "replica"), "{{replica}} failed rows"),
            ],
        ),
        ("Backend", "short", [(total(names.REPLICA_INFO, "replica", "backend"), "{{replica}} {{backend}}")]),
    ],
    "Adapters": [
        ("Leases", "ops", [(total(names.LEASES, "result"), "{{result}}")]),
        ("Loads by stage", "ops", [(total(names.LOAD_S, "stage", suffix="_count"), "{{stage}}")]),
        ("Load", "s", quantiles(names.LOAD_S, "stage", of=(0.5, 0.95))),
        ("Evictions", "ops", [(total(names.EVICTIONS, "replica"), "{{replica}}")]),
        ("Load failures by code", "ops", [(total(names.LOAD_FAILURES, "code"), "{{code}}")]),
        ("Quarantines", "ops", [(total(names.QUARANTINES, "reason"), "{{reason}}")]),
        ("Adapters by state", "short", [(total(names.ADAPTERS, "state"), "{{state}}")]),
        (
            "Memory",
            "bytes",
            [
                (total(names.ADAPTER_BYTES, "replica"), "{{replica}}"),
                (total(names.ADAPTER_LIMIT_BYTES, "replica"), "{{replica}} limit"),
            ],
        ),
        ("Slabs on disk", "bytes", [(total(names.SLAB_BYTES, "replica"), "{{replica}}")]),
        ("Requests by adapter", "reqps", [(f"topk(10, {total(names.ADAPTER_REQUESTS, 'adapter')})", "{{adapter}}")]),
    ],
    "Feedback": [
        ("Events by kind", "ops", [(total(names.FEEDBACK_EVENTS, "kind"), "{{kind}}")]),
        (
            "Sent again, refused",
            "ops",
            [
                (total(names.FEEDBACK_DUPLICATES), "duplicates"),
                (total(names.FEEDBACK_REFUSED, "code"), "{{code}}"),
            ],
        ),
        (
            "Response records",
            "ops",
            [(total(names.RECORDS_KEPT), "kept"), (total(names.RECORDS_DROPPED), "dropped")],
        ),
        ("Log", "bytes", [(f"max by (log) ({names.FEEDBACK_BYTES.name})", "{{log}}")]),
        ("Commit", "s", quantiles(names.FEEDBACK_COMMIT_S)),
    ],
    "Registry": [
        ("Registry answers", "bool_yes_no", [(f"min({names.REGISTRY_UP.name})", "registry")]),
        ("Since its last answer", "s", [(f"max({names.CATALOG_AGE_S.name})", "catalog")]),
        ("Adapters known", "short", [(f"min({names.CATALOG_ADAPTERS.name})", "adapters")]),
        ("Registry has its keys", "bool_yes_no", [(f"1 - max({names.KEYS_LOST.name})", "keys")]),
        (
            "Restores, and keys refused since",
            "short",
            [
                (f"sum(increase({names.RESTORES.name}[{WINDOW}]))", "restores"),
                (f"max({names.CONTESTED_KEYS.name})", "keys refused"),
            ],
        ),
        ("Changes applied", "short", [(f"changes({names.CATALOG_SEQ.name}[{WINDOW}])", "{{instance}}")]),
    ],
}


# -- the dashboard --------------------------------------------------------------------------------------------


def panel(title: str, unit: str, targets: list[Target]) -> timeseries.Panel | stat.Panel:
    info = all("info" in query for query, _ in targets)
    shown = stat.Panel() if info else timeseries.Panel().fill_opacity(5).min(0)
    if isinstance(shown, stat.Panel):
        shown = shown.text_mode("name")
    shown = shown.title(title).unit(unit).datasource(SOURCE).span(WIDTH).height(HEIGHT)
    for at, (query, legend) in enumerate(targets):
        shown = shown.with_target(prometheus.Dataquery().ref_id(chr(ord("A") + at)).expr(query).legend_format(legend))
    return shown


def variable(label: str, metric: Metric) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric.name}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )


def build() -> str:
    """The dashboard as JSON."""
    board = (
        grafana.Dashboard("Quickchange")
        .uid("quickchange")
        .description("One frozen base, many adapters: what clients see, what the replicas do.")
        .tags(["quickchange"])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .with_variable(grafana.DatasourceVariable("datasource").type("prometheus").hide(VariableHide.DONT_HIDE))
        .with_variable(variable("replica", names.REPLICA_INFO))
        .with_variable(variable("tenant", names.TENANT_REQUESTS))
    )
    for title, panels in ROWS.items():
        board = board.with_row(grafana.Row(title))
        for one in panels:
            board = board.with_panel(panel(*one))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


if __name__ == "__main__":
    print(build(), end="")
