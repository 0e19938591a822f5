"""Every metric: its name, help, labels, and who uses it. ``docs/metrics.md`` is made from this list."""

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
    """Rows of the dashboard and names of alerts, or who else reads it."""
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
    "1; the release that runs, and the base that it serves.",
    "dashboard: Traffic",
    "version",
    "base",
    "base_digest",
)
REQUESTS = _counter(
    "quickchange_requests_total",
    "Requests that ended, by route template; 499 is a client that hung up.",
    "dashboard: Traffic; alert: ErrorRate",
    "method",
    "route",
    "status",
)
ERRORS = _counter(
    "quickchange_request_errors_total",
    "Errors told, also inside streams, by their stable code.",
    "dashboard: Traffic; alert: ErrorRate",
    "code",
)
KEY_REFUSALS = _counter(
    "quickchange_key_refusals_total",
    "Requests refused for their key: none that is good (401), none for this (403), or a quota of it (429, 403).",
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
    "Requests that this gateway holds; probes and scrapes left out.",
    "dashboard: Traffic",
)
CONNECTIONS = _gauge("quickchange_connections", "Connections that this gateway holds.", "dashboard: Traffic")
CONNECTIONS_REFUSED = _counter(
    "quickchange_connections_refused_total",
    "Connections refused or ended before a request could be answered, by reason.",
    "dashboard: Traffic",
    "reason",
)
TENANT_REQUESTS = _counter(
    "quickchange_tenant_requests_total",
    "Requests whose model was found, by whose adapter answers.",
    "dashboard: Traffic",
    "tenant",
)
ADAPTER_REQUESTS = _counter(
    "quickchange_adapter_requests_total",
    "Requests whose model was found, by adapter; base is none.",
    "dashboard: Adapters",
    "adapter",
)
DURATION_S = _histogram(
    "quickchange_request_seconds", "From a request's arrival to its last byte.", "dashboard: Latency", "route"
)
FIRST_TOKEN_S = _histogram(
    "quickchange_first_token_seconds",
    "From a request's arrival to its first token.",
    "dashboard: Latency; alert: FirstTokenSlow",
)
INTER_TOKEN_S = _histogram(
    "quickchange_inter_token_seconds", "Between the tokens of one answer, after its first.", "dashboard: Latency"
)
PROMPT_TOKENS = _counter(
    "quickchange_prompt_tokens_total", "Prompt tokens of admitted requests.", "dashboard: Tokens", "tenant"
)
COMPLETION_TOKENS = _counter(
    "quickchange_completion_tokens_total", "Tokens generated and given out.", "dashboard: Tokens", "tenant"
)

# -- the gateway: the registry --------------------------------------------------------------------------------

REGISTRY_UP = _gauge(
    "quickchange_registry_reachable",
    "1 if the registry answered when it was last asked.",
    "dashboard: Registry; alert: RegistryUnreachable",
)
CATALOG_AGE_S = _gauge(
    "quickchange_catalog_age_seconds",
    "Since the registry last answered, or since start.",
    "dashboard: Registry; alert: CatalogStale",
)
CATALOG_SEQ = _gauge(
    "quickchange_catalog_seq", "The registry's last change that this gateway applied.", "dashboard: Registry"
)
CATALOG_ADAPTERS = _gauge("quickchange_catalog_adapters", "Adapters that this gateway knows.", "dashboard: Registry")
KEYS_LOST = _gauge(
    "quickchange_registry_keys_lost",
    "1 if the registry had API keys and has none any more: its database was deleted or swapped.",
    "dashboard: Registry; alert: RegistryKeysLost",
)
RESTORES = _counter(
    "quickchange_registry_restores_total",
    "How often the registry came back with another history, as after a restore from a backup.",
    "dashboard: Registry",
)
CONTESTED_KEYS = _gauge(
    "quickchange_contested_keys",
    "Keys that ended and that a restored registry would let in again; this gateway refuses them.",
    "dashboard: Registry; alert: ContestedKeys",
)

# -- the gateway: feedback ------------------------------------------------------------------------------------

FEEDBACK_EVENTS = _counter(
    "quickchange_feedback_events_total", "Feedback events acknowledged, each once.", "dashboard: Feedback", "kind"
)
FEEDBACK_DUPLICATES = _counter(
    "quickchange_feedback_duplicates_total",
    "Feedback events that had been sent before.",
    "dashboard: Feedback",
    "kind",
)
FEEDBACK_REFUSED = _counter(
    "quickchange_feedback_refused_total",
    "Feedback requests refused, by the error's code.",
    "dashboard: Feedback; alert: FeedbackStorageFailing",
    "code",
)
RECORDS_KEPT = _counter(
    "quickchange_response_records_kept_total", "Response records that are durable.", "dashboard: Feedback"
)
RECORDS_DROPPED = _counter(
    "quickchange_response_records_dropped_total",
    "Response records given up: no feedback will find them.",
    "dashboard: Feedback; alert: FeedbackStorageFailing",
)
FEEDBACK_BYTES = _gauge(
    "quickchange_feedback_log_bytes",
    "Bytes of the feedback log: events, or response records.",
    "dashboard: Feedback",
    "log",
)
FEEDBACK_COMMIT_S = _histogram(
    "quickchange_feedback_commit_seconds", "From a batch of feedback to its fsync.", "dashboard: Feedback"
)

# -- the fleet ------------------------------------------------------------------------------------------------

REPLICAS = _gauge("quickchange_replicas", "Replicas that this gateway's router knows.", "dashboard: Traffic")
REPLICAS_SILENT = _gauge(
    "quickchange_replicas_silent",
    "Those of them that did not answer this scrape in time.",
    "dashboard: Traffic; alert: ReplicaSilent",
)
REPLICA_INFO = _gauge(
    "quickchange_replica_info",
    "1; how the replica computes the base's rows.",
    "dashboard: Engine",
    "replica",
    "backend",
)

# -- replicas: the engine -------------------------------------------------------------------------------------

RUNNING = _gauge(
    "quickchange_running_sequences",
    "Choices of requests that the engine advances at each step.",
    "dashboard: Engine",
    "replica",
)
WAITING = _gauge(
    "quickchange_waiting_sequences",
    "Choices of requests that wait for room in the engine.",
    "dashboard: Engine; alert: QueueGrowing",
    "replica",
)
QUEUE_S = _histogram(
    "quickchange_queue_seconds",
    "From submission to the first step with rows of the sequence.",
    "dashboard: Engine",
    "replica",
)
STEP_S = _histogram("quickchange_step_seconds", "One engine step: plan, run, commit.", "dashboard: Engine", "replica")
STEP_ROWS = _histogram("quickchange_step_rows", "Rows of one step: tokens computed.", "dashboard: Engine", "replica")
STEP_SEQUENCES = _histogram("quickchange_step_sequences", "Sequences of one step.", "dashboard: Engine", "replica")
FAILED_STEPS = _counter(
    "quickchange_failed_steps_total",
    "Runs of a step that raised; its sequences were run again in halves, and those that raise alone ended.",
    "dashboard: Engine; alert: StepsFailing",
    "replica",
)
FAILED_ROWS = _counter(
    "quickchange_failed_rows_total",
    "Sequences that ended because their own row failed: no finite logit, or it raised alone.",
    "dashboard: Engine",
    "replica",
)
PREEMPTIONS = _counter(
    "quickchange_preemptions_total",
    "Sequences that gave their KV blocks back and wait again.",
    "dashboard: Engine",
    "replica",
)
KV_BLOCKS = _gauge(
    "quickchange_kv_blocks", "KV blocks of the engine.", "dashboard: Engine; alert: KvNearlyFull", "replica"
)
KV_BLOCKS_USED = _gauge(
    "quickchange_kv_blocks_used",
    "KV blocks held by running sequences.",
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
    "Those of them that the prefix cache had.",
    "dashboard: Tokens",
    "replica",
)

# -- replicas: adapters ---------------------------------------------------------------------------------------

LEASES = _counter(
    "quickchange_adapter_leases_total",
    "Requests for an adapter: hit, miss (waited for a load), refused (failed a moment ago).",
    "dashboard: Adapters",
    "replica",
    "result",
)
LOAD_S = _histogram(
    "quickchange_adapter_load_seconds",
    "Loads by stage: fetch (registry to slab, where there was none), slab (slab to memory).",
    "dashboard: Adapters; alert: EvictionsThrash",
    "replica",
    "stage",
)
LOAD_FAILURES = _counter(
    "quickchange_adapter_load_failures_total",
    "Loads that failed, by the error's code.",
    "dashboard: Adapters; alert: AdapterLoadFailures",
    "replica",
    "code",
)
EVICTIONS = _counter(
    "quickchange_adapter_evictions_total",
    "Idle adapters freed for others.",
    "dashboard: Adapters; alert: EvictionsThrash",
    "replica",
)
QUARANTINES = _counter(
    "quickchange_adapter_quarantines_total",
    "Adapters quarantined: they failed their trial, or three requests of their owner failed by their weights.",
    "dashboard: Adapters",
    "replica",
    "reason",
)
ADAPTERS = _gauge(
    "quickchange_adapters",
    "Adapters in the store: ready, fetching, failed or quarantined (not tried at the moment).",
    "dashboard: Adapters",
    "replica",
    "state",
)
ADAPTER_BYTES = _gauge(
    "quickchange_adapter_bytes", "Bytes of the adapters that are ready.", "dashboard: Adapters", "replica"
)
ADAPTER_LIMIT_BYTES = _gauge(
    "quickchange_adapter_limit_bytes", "Most bytes that the adapter store may hold.", "dashboard: Adapters", "replica"
)
SLAB_BYTES = _gauge(
    "quickchange_adapter_disk_bytes",
    "Slabs on the machine's disk when the replica last wrote one.",
    "dashboard: Adapters",
    "replica",
)

# -- replicas, in vLLM's words: for tools that know those ------------------------------------------------------

VLLM_RUNNING = _gauge(
    "vllm:num_requests_running",
    "As quickchange_running_sequences.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_WAITING = _gauge(
    "vllm:num_requests_waiting",
    "As quickchange_waiting_sequences, and requests that wait for their adapter.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_KV_USAGE = _gauge(
    "vllm:kv_cache_usage_perc",
    "KV blocks in use, 1 being all of them.",
    "endpoint pickers of gateways",
    "model_name",
    "replica",
)
VLLM_LORA = _gauge(
    "vllm:lora_requests_info",
    "Unix time; adapters with rows in the engine, and those that wait, separated by commas.",
    "endpoint pickers of gateways",
    "max_lora",
    "running_lora_adapters",
    "waiting_lora_adapters",
    "replica",
)


def all_metrics() -> list[Metric]:
    """In the order of this file."""
    return [value for value in globals().values() if isinstance(value, Metric)]
