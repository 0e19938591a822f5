"""The reports of replicas and of the feedback log's owner, as series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric as Family

from service.adapters.residency import Resident
from service.metrics import names
from service.metrics.families import Labels, counter, gauge, histogram
from service.metrics.names import Metric
from service.report import FleetReport, RecorderReport, ReplicaReport
from service.support.counting import Buckets

STATES = ("ready", "fetching", "failed", "quarantined")
QUARANTINES = ("trial", "requests")
LOAD_CODES = (
    "adapter_failed", "adapter_incompatible", "internal_error", "model_not_found", "non_finite_logits", "overloaded",
)  # fmt: skip
"""Series that begin at 0, so that the first failure is an increase."""

Read = Callable[[ReplicaReport], float]

GAUGES: tuple[tuple[Metric, Read], ...] = (
    (names.RUNNING, lambda replica: replica.engine.running),
    (names.WAITING, lambda replica: replica.engine.waiting),
    (names.KV_BLOCKS, lambda replica: replica.engine.kv_blocks_total),
    (names.KV_BLOCKS_USED, lambda replica: replica.engine.kv_blocks_used),
    (names.ADAPTER_BYTES, lambda replica: sum(adapter.nbytes for adapter in replica.adapters)),
    (names.ADAPTER_LIMIT_BYTES, lambda replica: replica.store.host_bytes),
    (names.SLAB_BYTES, lambda replica: replica.disk_bytes),
)
COUNTERS: tuple[tuple[Metric, Read], ...] = (
    (names.FAILED_STEPS, lambda replica: replica.engine.failed_steps),
    (names.FAILED_ROWS, lambda replica: replica.engine.failed_rows),
    (names.PREEMPTIONS, lambda replica: replica.engine.preemptions),
    (names.ADMITTED_TOKENS, lambda replica: replica.engine.prompt_tokens),
    (names.PREFIX_HIT_TOKENS, lambda replica: replica.engine.prefix_hit_tokens),
    (names.EVICTIONS, lambda replica: replica.store.evictions),
)
HISTOGRAMS: tuple[tuple[Metric, Callable[[ReplicaReport], Buckets]], ...] = (
    (names.QUEUE_S, lambda replica: replica.engine.queue_s),
    (names.STEP_S, lambda replica: replica.engine.step_s),
    (names.STEP_ROWS, lambda replica: replica.engine.rows),
    (names.STEP_SEQUENCES, lambda replica: replica.engine.sequences),
)


def fleet_families(fleet: FleetReport, now: float) -> Iterator[Family]:
    """Everything behind the gateway; ``now`` is Unix time."""
    yield gauge(names.REPLICAS, [((), len(fleet.replicas) + len(fleet.silent))])
    yield gauge(names.REPLICAS_SILENT, [((), len(fleet.silent))])
    yield counter(names.RECORDS_KEPT, [((), fleet.records_kept)])
    yield counter(names.RECORDS_DROPPED, [((), fleet.records_dropped)])
    if fleet.recorder is not None:
        yield from _recorder(fleet.recorder)
    yield from _replicas(fleet.replicas)
    yield from _vllm(fleet.replicas, now)


def _recorder(recorder: RecorderReport) -> Iterator[Family]:
    sizes = {"events": recorder.log_bytes, "responses": recorder.response_bytes}
    yield gauge(names.FEEDBACK_BYTES, [((log,), nbytes) for log, nbytes in sizes.items()])
    yield histogram(names.FEEDBACK_COMMIT_S, [((), recorder.commit_s)])


def _replicas(replicas: dict[str, ReplicaReport]) -> Iterator[Family]:
    yield gauge(names.REPLICA_INFO, [((id, replica.engine.backend), 1) for id, replica in replicas.items()])
    for metric, read in GAUGES:
        yield gauge(metric, [((id,), read(replica)) for id, replica in replicas.items()])
    for metric, read in COUNTERS:
        yield counter(metric, [((id,), read(replica)) for id, replica in replicas.items()])
    for metric, spread in HISTOGRAMS:
        yield histogram(metric, [((id,), spread(replica)) for id, replica in replicas.items()])
    yield gauge(names.ADAPTERS, _by(replicas, _states))
    yield counter(names.LEASES, _by(replicas, _leases))
    yield counter(names.LOAD_FAILURES, _by(replicas, _failures))
    yield counter(names.QUARANTINES, _by(replicas, _quarantines))
    stages = [
        ((id, stage), buckets)
        for id, replica in replicas.items()
        for stage, buckets in (("fetch", replica.store.fetch_s), ("slab", replica.store.slab_s))
    ]
    yield histogram(names.LOAD_S, stages)


def _by(
    replicas: dict[str, ReplicaReport], split: Callable[[ReplicaReport], dict[str, int]]
) -> list[tuple[Labels, float]]:
    """One sample for each replica and each key of ``split``."""
    return [((id, key), value) for id, replica in replicas.items() for key, value in split(replica).items()]


def _states(replica: ReplicaReport) -> dict[str, int]:
    found = Counter[str](adapter.state for adapter in replica.adapters)
    return {state: found[state] for state in STATES}


def _leases(replica: ReplicaReport) -> dict[str, int]:
    return {"hit": replica.store.hits, "miss": replica.store.misses, "refused": replica.store.refused}


def _failures(replica: ReplicaReport) -> dict[str, int]:
    return dict.fromkeys(LOAD_CODES, 0) | replica.store.failures


def _quarantines(replica: ReplicaReport) -> dict[str, int]:
    return dict.fromkeys(QUARANTINES, 0) | replica.store.quarantines


# -- vLLM's names ---------------------------------------------------------------------------------------------


def _vllm(replicas: dict[str, ReplicaReport], now: float) -> Iterator[Family]:
    labels = {id: (replica.served.name, id) for id, replica in replicas.items()}
    running = [(labels[id], replica.engine.running) for id, replica in replicas.items()]
    waiting = [
        (labels[id], replica.engine.waiting + _waiting_for_adapters(replica)) for id, replica in replicas.items()
    ]
    usage = [
        (labels[id], replica.engine.kv_blocks_used / replica.engine.kv_blocks_total)
        for id, replica in replicas.items()
    ]
    yield gauge(names.VLLM_RUNNING, running)
    yield gauge(names.VLLM_WAITING, waiting)
    yield gauge(names.VLLM_KV_USAGE, usage)
    yield gauge(names.VLLM_LORA, [(_lora(id, replica), now) for id, replica in replicas.items()])


def _waiting_for_adapters(replica: ReplicaReport) -> int:
    return sum(adapter.leases for adapter in replica.adapters if adapter.state == "fetching")


def _lora(id: str, replica: ReplicaReport) -> Labels:
    engine = replica.engine
    by_digest = {adapter.ref.digest: _name(adapter) for adapter in replica.adapters if adapter.state == "ready"}
    fetching = {_name(adapter) for adapter in replica.adapters if adapter.state == "fetching"}
    running = {by_digest[digest] for digest in engine.running_digests if digest in by_digest}
    waiting = {by_digest[digest] for digest in engine.waiting_digests if digest in by_digest}
    return str(engine.running_limit), ",".join(sorted(running)), ",".join(sorted(waiting | fetching)), id


def _name(adapter: Resident) -> str:
    """The adapter's name in requests; all versions of an adapter have the same."""
    return f"{adapter.ref.tenant}/{adapter.ref.name}"
