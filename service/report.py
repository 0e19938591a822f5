"""What processes say of themselves when asked: plain frozen values, for metrics, residency and status."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.counts import StoreCounts
from service.adapters.residency import Resident
from service.engine.snapshot import EngineSnapshot
from service.support.counting import Buckets
from service.values import ServedBase


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica, all of it as of one moment."""

    served: ServedBase
    engine: EngineSnapshot
    store: StoreCounts
    adapters: tuple[Resident, ...]
    disk_bytes: int
    """Slabs on the machine's disk when this replica last wrote one, or started."""


@dataclass(frozen=True, slots=True)
class RecorderReport:
    """The owner of the feedback log."""

    log_bytes: int
    response_bytes: int
    commit_s: Buckets
    """Seconds from submission to durable, of feedback."""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What the processes behind one gateway answered."""

    replicas: dict[str, ReplicaReport]
    """By replica id."""
    silent: tuple[str, ...] = ()
    """Replicas that did not answer in time."""
    records_kept: int = 0
    """Response records that this gateway handed over and that are durable."""
    records_dropped: int = 0
    recorder: RecorderReport | None = None
    """None where feedback is off, or its owner did not answer."""


def fleet_report(asked: dict[str, ReplicaReport | None]) -> FleetReport:
    """Of the replicas alone; None is one that did not answer."""
    answered = {id: report for id, report in asked.items() if report is not None}
    return FleetReport(answered, tuple(id for id in asked if id not in answered))


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """How well a gateway knows the registry."""

    seq: int | None
    """The last change applied; None while nothing is known."""
    adapters: int
    reachable: bool
    """Whether the registry answered when it was last asked."""
    age_s: float | None
    """Seconds since it last answered; None: not since this process began."""
    keys_lost: bool = False
    """It had API keys and has none any more."""
    restores: int = 0
    """How often another history than the known one was taken from it, as after a restore from a backup."""
    restored_at: float | None = None
    """Unix time of the last one."""
    contested: tuple[str, ...] = ()
    """Ids of keys that ended and that it would let in again; they are refused."""
