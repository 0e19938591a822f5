"""Every metric: its name, help, labels and consumers. ``docs/metrics.md`` is made from this list.

It is one file because it is one list: the page has its order, and tests compare dashboard and alerts with all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series. Names end in their unit; those of counters in ``_total``."""

    name: str
    kind: Kind
    help: str
    used_by: str
    """Rows of the dashboard and names of alerts, or other readers."""
    labels: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """seconds, bytes, tokens, or nothing for what is counted in itself."""
        last = self.family.rsplit("_", 1)[-1]
        return last if last in ("seconds", "bytes", "tokens") else ""

    @property
    def family(self) -> str:
        """The name as prometheus_client wants it: without a counter's suffix."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


def _counter(name: str, help: str, used_by: str, *labels: str) -> Metric:
    return Metric(name, "counter", help, used_by, labels)


def _gauge(name: str, help: str, used_by: str, *labels: str) -> Metric:
    return Metric(name, "gauge", help, used_by, labels)


def _histogram(name: str, help: str, used_by: str, *labels: str) -> Metric:
    return Metric(name, "histogram", help, used_by, labels)


# -- the gateway: what clients see ----------------------------------------------------------------------------

BUILD = _gauge(
    "quickchange_build_info",
    "Always 1; the labels name the release and the base that it serves.",
    "dashboard: Traffic",
    "version",
    "base",
    "base_digest",
)
REQUESTS = _counter(
    "quickchange_requests_total",
    "Finished requests by route template; 499 means that the client disconnected.",
    "dashboard: Traffic; alert: ErrorRate",
    "method",
    "route",
    "status",
)
ERRORS = _counter(
    "quickchange_request_errors_total",
    "Errors returned, also inside streams, by their stable code.",
    "dashboard: Traffic; alert: ErrorRate",
    "code",
)
KEY_REFUSALS = _counter(
    "quickchange_key_refusals_total",
    "Requests refused because of their key: not valid (401), without the scope (403), or over a quota (429, 403).",
    "dashboard: Traffic",
    "reason",
)
PARAMETERS_IGNORED = _counter(
    "quickchange_ignored_parameters_total",
    "Request fields that were ignored and reported to the client: hints, and fields that no known API has.",
    "dashboard: Traffic",
    "known",
)
IN_FLIGHT = _gauge(
    "quickchange_in_flight_requests",
    "Requests in progress at this gateway, without probes and scrapes.",
    "dashboard: Traffic",
)
CONNECTIONS = _gauge("quickchange_connections", "Open connections of this gateway.", "dashboard: Traffic")
CONNECTIONS_REFUSED = _counter(
    "quickchange_connections_refused_total",
    "Connections refused or closed before a request could be answered, by reason.",
    "dashboard: Traffic",
    "reason",
)
TENANT_REQUESTS = _counter(
    "quickchange_tenant_requests_total",
    "Requests whose model was found, by the tenant that owns the adapter.",
    "dashboard: Traffic",
    "tenant",
)
ADAPTER_REQUESTS = _counter(
    "quickchange_adapter_requests_total",
    "Requests whose model was found, by adapter; `base` means no adapter.",
    "dashboard: Adapters",
    "adapter",
)
DURATION_S = _histogram(
    "quickchange_request_seconds", "Time from a request's arrival to its last byte.", "dashboard: Latency", "route"
)
FIRST_TOKEN_S = _histogram(
    "quickchange_first_token_seconds",
    "Time from a request's arrival to its first token.",
    "dashboard: Latency; alert: FirstTokenSlow",
)
INTER_TOKEN_S = _histogram(
    "quickchange_inter_token_seconds", "Time between the tokens of one answer, after its first.", "dashboard: Latency"
)
PROMPT_TOKENS = _counter(
    "quickchange_prompt_tokens_total", "Prompt tokens of admitted requests.", "dashboard: Tokens", "tenant"
)
COMPLETION_TOKENS = _counter(
    "quickchange_completion_tokens_total", "Tokens generated and sent.", "dashboard: Tokens", "tenant"
)

# -- the gateway: the registry --------------------------------------------------------------------------------

REGISTRY_UP = _gauge(
    "quickchange_registry_reachable",
    "1 if the registry answered the last call, 0 if not.",
    "dashboard: Registry; alert: RegistryUnreachable",
)
CATALOG_AGE_S = _gauge(
    "quickchange_catalog_age_seconds",
    "Time since the last answer of the registry, or since the start.",
    "dashboard: Registry; alert: CatalogStale",
)
CATALOG_SEQ = _gauge(
    "quickchange_catalog_seq", "Sequence number of the last change that this gateway applied.", "dashboard: Registry"
)
CATALOG_ADAPTERS = _gauge("quickchange_catalog_adapters", "Adapters that this gateway knows.", "dashboard: Registry")
KEYS_LOST = _gauge(
    "quickchange_registry_keys_lost",
    "1 if the registry had API keys and now has none: its database was deleted or replaced.",
    "dashboard: Registry; alert: RegistryKeysLost",
)
RESTORES = _counter(
    "quickchange_registry_restores_total",
    "How often the registry came back with another history, as after a restore from a backup.",
    "dashboard: Registry",
)
CONTESTED_KEYS = _gauge(
    "quickchange_contested_keys",
    "Ended keys that a restored registry accepts again; this gateway refuses them.",
    "dashboard: Registry; alert: ContestedKeys",
)

# -- the gateway: feedback ------------------------------------------------------------------------------------

FEEDBACK_EVENTS = _counter(
    "quickchange_feedback_events_total",
    "Acknowledged feedback events, without duplicates.",
    "dashboard: Feedback",
    "kind",
)
FEEDBACK_DUPLICATES = _counter(
    "quickchange_feedback_duplicates_total",
    "Feedback events that had been sent before.",
    "dashboard: Feedback",
    "kind",
)
FEEDBACK_REFUSED = _counter(
    "quickchange_feedback_refused_total",
    "Refused feedback requests by error code.",
    "dashboard: Feedback; alert: FeedbackStorageFailing",
    "code",
)
RECORDS_KEPT = _counter(
    "quickchange_response_records_kept_total", "Response records that are stored durably.", "dashboard: Feedback"
)
RECORDS_DROPPED = _counter(
    "quickchange_response_records_dropped_total",
    "Dropped response records; feedback on them is refused.",
    "dashboard: Feedback; alert: FeedbackStorageFailing",
)
FEEDBACK_BYTES = _gauge(
    "quickchange_feedback_log_bytes",
    "Size of the feedback log: events, or response records.",
    "dashboard: Feedback",
    "log",
)
FEEDBACK_COMMIT_S = _histogram(
    "quickchange_feedback_commit_seconds", "Time from a batch of feedback to its fsync.", "dashboard: Feedback"
)

# -- the fleet ------------------------------------------------------------------------------------------------

REPLICAS = _gauge("quickchange_replicas", "Replicas that this gateway's router knows.", "dashboard: Traffic")
REPLICAS_SILENT = _gauge(
    "quickchange_replicas_silent",
    "Known replicas that did not answer this scrape in time.",
    "dashboard: Traffic; alert: ReplicaSilent",
)
REPLICA_INFO = _gauge(
    "quickchange_replica_info",
    "Always 1; the label names the backend that computes the base's rows.",
    "dashboard: Engine",
    "replica",
    "backend",
)

# -- replicas: the engine -------------------------------------------------------------------------------------

RUNNING = _gauge(
    "quickchange_running_sequences",
    "Sequences (choices of requests) that run in the engine.",
    "dashboard: Engine",
    "replica",
)
WAITING = _gauge(
    "quickchange_waiting_sequences",
    "Sequences that wait for the engine.",
    "dashboard: Engine; alert: QueueGrowing",
    "replica",
)
QUEUE_S = _histogram(
    "quickchange_queue_seconds",
    "Time from submission to the first step of the sequence.",
    "dashboard: Engine",
    "replica",
)
STEP_S = _histogram(
    "quickchange_step_seconds", "Time of one engine step: plan, run, commit.", "dashboard: Engine", "replica"
)
STEP_ROWS = _histogram("quickchange_step_rows", "Rows per step (tokens computed).", "dashboard: Engine", "replica")
STEP_SEQUENCES = _histogram("quickchange_step_sequences", "Sequences per step.", "dashboard: Engine", "replica")
FAILED_STEPS = _counter(
    "quickchange_failed_steps_total",
    "Steps that raised an exception; their sequences were run again in halves.",
    "dashboard: Engine; alert: StepsFailing",
    "replica",
)
FAILED_ROWS = _counter(
    "quickchange_failed_rows_total",
    "Sequences that ended because their own row failed: no finite logit, or an exception.",
    "dashboard: Engine",
    "replica",
)
PREEMPTIONS = _counter(
    "quickchange_preemptions_total",
    "Sequences that returned their KV blocks and wait again.",
    "dashboard: Engine",
    "replica",
)
KV_BLOCKS = _gauge(
    "quickchange_kv_blocks", "KV blocks of the engine.", "dashboard: Engine; alert: KvNearlyFull", "replica"
)
KV_BLOCKS_USED = _gauge(
    "quickchange_kv_blocks_used",
    "KV blocks in use by running sequences.",
    "dashboard: Engine; alert: KvNearlyFull",
    "replica",
)
ADMITTED_TOKENS = _counter(
    "quickchange_prefill_tokens_total",
    "Prompt tokens of sequences that began to run.",
    "dashboard: Tokens",
    "replica",
)
PREFIX_HIT_TOKENS = _counter(
    "quickchange_prefix_cache_hit_tokens_total",
    "Prompt tokens that the prefix cache had.",
    "dashboard: Tokens",
    "replica",
)

# -- replicas: adapters ---------------------------------------------------------------------------------------

LEASES = _counter(
    "quickchange_adapter_leases_total",
    "Requests by adapter lookup: hit, miss (waited for a load), refused (a recent load failed).",
    "dashboard: Adapters",
    "replica",
    "result",
)
LOAD_S = _histogram(
    "quickchange_adapter_load_seconds",
    "Load time by stage: fetch (registry to slab, if there was none), slab (slab to memory).",
    "dashboard: Adapters; alert: EvictionsThrash",
    "replica",
    "stage",
)
LOAD_FAILURES = _counter(
    "quickchange_adapter_load_failures_total",
    "Failed loads by error code.",
    "dashboard: Adapters; alert: AdapterLoadFailures",
    "replica",
    "code",
)
EVICTIONS = _counter(
    "quickchange_adapter_evictions_total",
    "Unused adapters evicted from memory.",
    "dashboard: Adapters; alert: EvictionsThrash",
    "replica",
)
QUARANTINES = _counter(
    "quickchange_adapter_quarantines_total",
    "Quarantined adapters: the trial failed, or three requests of the owner failed because of the weights.",
    "dashboard: Adapters",
    "replica",
    "reason",
)
ADAPTERS = _gauge(
    "quickchange_adapters",
    "Adapters in the store by state: ready, fetching, failed, quarantined.",
    "dashboard: Adapters",
    "replica",
    "state",
)
ADAPTER_BYTES = _gauge(
    "quickchange_adapter_bytes", "Memory of the adapters that are ready.", "dashboard: Adapters", "replica"
)
ADAPTER_LIMIT_BYTES = _gauge(
    "quickchange_adapter_limit_bytes", "Memory limit of the adapter store.", "dashboard: Adapters", "replica"
)
SLAB_BYTES = _gauge(
    "quickchange_adapter_disk_bytes",
    "Size of the slabs on disk when the replica last wrote one.",
    "dashboard: Adapters",
    "replica",
)

# -- replicas, in vLLM's words: for tools that know those ------------------------------------------------------

VLLM_RUNNING = _gauge(
    "vllm:num_requests_running",
    "Same as quickchange_running_sequences.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_WAITING = _gauge(
    "vllm:num_requests_waiting",
    "quickchange_waiting_sequences plus requests that wait for their adapter.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_KV_USAGE = _gauge(
    "vllm:kv_cache_usage_perc",
    "Fraction of KV blocks in use, 0 to 1.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_LORA = _gauge(
    "vllm:lora_requests_info",
    "Unix time; the labels list adapters that run and adapters that wait, separated by commas.",
    "endpoint pickers of gateways",
    "max_lora",
    "running_lora_adapters",
    "waiting_lora_adapters",
    "replica",
)


def all_metrics() -> list[Metric]:
    """In the order of this file."""
    return [value for value in globals().values() if isinstance(value, Metric)]
