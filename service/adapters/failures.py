"""Which adapters failed to load or in use, why, and when they may be tried again: a bounded negative cache."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import inf

from service.adapters.clock import Clock
from service.adapters.residency import Resident
from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    AdapterQuarantined,
    NonFiniteLogits,
    QuickchangeError,
    from_failure,
)
from service.values import AdapterRef, Failure

QUARANTINE = (NonFiniteLogits, AdapterQuarantined)
"""It was loaded, and what it computes cannot be used."""
_QUARANTINE_CODES = [error.code for error in QUARANTINE]
CAPACITY = 4096
"""Most failed digests remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Failed:
    ref: AdapterRef
    failure: Failure
    retry_at: float
    """Infinite where no retry can help: a version and the base never change."""


class Failures:
    """By digest. Owned by the adapter store."""

    def __init__(self, clock: Clock, retry_after_s: float, quarantine_s: float) -> None:
        self._clock = clock
        self._retry_after_s = retry_after_s
        self._quarantine_s = quarantine_s
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def remember(self, ref: AdapterRef, error: QuickchangeError) -> Failure:
        """The failure as the requests that waited hear it."""
        wait_s = self._wait_s(error)
        retry_after_s = wait_s if isinstance(error, AdapterFailed | AdapterQuarantined) else None
        failure = replace(error.failure(), retry_after_s=retry_after_s)
        self._failed.pop(ref.digest, None)
        self._failed[ref.digest] = _Failed(ref, failure, self._clock.now() + wait_s)
        while len(self._failed) > CAPACITY:
            self._failed.popitem(last=False)
        return failure

    def _wait_s(self, error: QuickchangeError) -> float:
        if isinstance(error, AdapterIncompatible):
            return inf
        return self._quarantine_s if isinstance(error, QUARANTINE) else self._retry_after_s

    def holds(self, digest: str) -> bool:
        """Whether the adapter is not tried at the moment."""
        failed = self._failed.get(digest)
        return failed is not None and failed.retry_at > self._clock.now()

    def check(self, digest: str) -> None:
        """Raise the remembered failure, with the time that is left, until its retry time."""
        failed = self._failed.get(digest)
        if failed is None:
            return
        left = failed.retry_at - self._clock.now()
        if left <= 0:
            del self._failed[digest]
            return
        retry_after_s = None if failed.failure.retry_after_s is None else left
        raise from_failure(replace(failed.failure, retry_after_s=retry_after_s))

    def residency(self) -> list[Resident]:
        """Those that are not tried at the moment."""
        now = self._clock.now()
        return [
            Resident(
                entry.ref,
                "quarantined" if entry.failure.code in _QUARANTINE_CODES else "failed",
                error=entry.failure.code,
                retry_after_s=None if entry.retry_at == inf else entry.retry_at - now,
            )
            for entry in self._failed.values()
            if entry.retry_at > now
        ]
