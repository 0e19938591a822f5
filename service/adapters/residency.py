"""The contents of an adapter store, as a value for operators, the router and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.values import AdapterRef


@dataclass(frozen=True, slots=True)
class Resident:
    """One adapter and its current state in the store."""

    ref: AdapterRef
    state: Literal["fetching", "ready", "failed", "quarantined"]
    nbytes: int = 0
    leases: int = 0
    """Running requests or, while fetching, waiting ones."""
    idle_s: float = 0.0
    """Seconds since the last lease ended; 0 while one runs."""
    error: str | None = None
    """Code of the error, if it failed."""
    retry_after_s: float | None = None
    """None: it will not be tried again."""

    def __str__(self) -> str:
        """``acme/support@3 ready 2 leases``"""
        match self.state:
            case "fetching":
                return f"{self.ref} fetching {self.leases} waiting"
            case "failed" if self.retry_after_s is None:
                return f"{self.ref} failed for good"
            case "failed":
                return f"{self.ref} failed, retry in {self.retry_after_s:.1f} s"
            case "quarantined":
                return f"{self.ref} quarantined for {self.retry_after_s or 0:.1f} s"
            case _:
                return f"{self.ref} ready " + (f"{self.leases} leases" if self.leases else "idle")
