"""Reports of the service's processes: plain frozen values for metrics, residency and status."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.counts import StoreCounts
from service.adapters.residency import Resident
from service.engine.snapshot import EngineSnapshot
from service.support.counting import Buckets
from service.values import ServedBase


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """The state of one replica at one moment."""

    served: ServedBase
    engine: EngineSnapshot
    store: StoreCounts
    adapters: tuple[Resident, ...]
    disk_bytes: int
    """Bytes of slabs on the machine's disk when this replica last wrote one, or started."""


@dataclass(frozen=True, slots=True)
class RecorderReport:
    """The state of the process that owns the feedback log."""

    log_bytes: int
    response_bytes: int
    commit_s: Buckets
    """Seconds from the submission of feedback until it was durable."""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The reports of all processes behind one gateway."""

    replicas: dict[str, ReplicaReport]
    """By replica id."""
    silent: tuple[str, ...] = ()
    """Replicas that did not answer in time."""
    records_kept: int = 0
    """Response records of this gateway that are durable."""
    records_dropped: int = 0
    recorder: RecorderReport | None = None
    """None if feedback is off, or its owner did not answer."""


def fleet_report(asked: dict[str, ReplicaReport | None]) -> FleetReport:
    """The report for replicas only; None for one that did not answer."""
    answered = {id: report for id, report in asked.items() if report is not None}
    return FleetReport(answered, tuple(id for id in asked if id not in answered))


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """The state of a gateway's copy of the registry."""

    seq: int | None
    """The last change applied; None before the first answer."""
    adapters: int
    reachable: bool
    """Whether the registry answered the last request."""
    age_s: float | None
    """Seconds since its last answer; None: no answer since this process began."""
    keys_lost: bool = False
    """The registry had API keys and reports none any more."""
    restores: int = 0
    """How often the registry's history changed, as after a restore from a backup."""
    restored_at: float | None = None
    """Unix time of the last change of the history."""
    contested: tuple[str, ...] = ()
    """Ids of ended keys that the registry reports as valid; they are refused."""
