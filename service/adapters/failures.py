"""A bounded negative cache: which adapters failed to load or run, why, and when they may be tried again."""

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
"""Errors of adapters that were loaded but whose results cannot be used."""
_QUARANTINE_CODES = [error.code for error in QUARANTINE]
CAPACITY = 4096
"""Bound on remembered failures; the oldest is dropped first."""


@dataclass(frozen=True, slots=True)
class _Failed:
    ref: AdapterRef
    failure: Failure
    retry_at: float
    """Infinite if no retry can help, because versions and the base never change."""


_Key = tuple[str, str | None]
"""A digest, and the owner whose requests failed; None if the failure is of the bytes, for every owner."""


class Failures:
    """Failures by digest; quarantines because of requests also by owner. Owned by the adapter store.

    Several tenants may have the same bytes: requests of one tenant must not block the adapter of another.
    """

    def __init__(self, clock: Clock, retry_after_s: float, quarantine_s: float) -> None:
        self._clock = clock
        self._retry_after_s = retry_after_s
        self._quarantine_s = quarantine_s
        self._failed: OrderedDict[_Key, _Failed] = OrderedDict()

    def remember(self, ref: AdapterRef, error: QuickchangeError) -> Failure:
        """Remember ``error``; returns it as a value for the requests that waited."""
        wait_s = self._wait_s(error)
        retry_after_s = wait_s if isinstance(error, AdapterFailed | AdapterQuarantined) else None
        failure = replace(error.failure(), retry_after_s=retry_after_s)
        key = (ref.digest, ref.tenant if isinstance(error, AdapterQuarantined) else None)
        self._failed.pop(key, None)
        self._failed[key] = _Failed(ref, failure, self._clock.now() + wait_s)
        while len(self._failed) > CAPACITY:
            self._failed.popitem(last=False)
        return failure

    def _wait_s(self, error: QuickchangeError) -> float:
        if isinstance(error, AdapterIncompatible):
            return inf
        return self._quarantine_s if isinstance(error, QUARANTINE) else self._retry_after_s

    def check(self, ref: AdapterRef) -> None:
        """Raises the remembered failure, with the remaining time, until its retry time."""
        for key in ((ref.digest, None), (ref.digest, ref.tenant)):
            failed = self._failed.get(key)
            if failed is None:
                continue
            left = failed.retry_at - self._clock.now()
            if left > 0:
                retry_after_s = None if failed.failure.retry_after_s is None else left
                raise from_failure(replace(failed.failure, retry_after_s=retry_after_s))
            del self._failed[key]

    def residency(self) -> list[Resident]:
        """Adapters that are not tried now."""
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
