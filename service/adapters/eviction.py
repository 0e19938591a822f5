"""Which idle adapters are evicted for a new one: a plain function; nothing is freed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SOONEST_RELOAD_S = 1e-3  # a measured reload time of 0 must not make an eviction cost nothing


@dataclass(frozen=True, slots=True)
class Held:
    """One resident adapter, as far as the decision needs it."""

    digest: str
    nbytes: int
    leases: int
    """Running requests; the adapter is pinned unless this is 0."""
    idle_s: float
    """Seconds since the last use ended."""
    reload_s: float
    """Time to load it again."""

    @property
    def loss(self) -> float:
        """Reload seconds per freed byte and idle second; the smallest is evicted first.

        Reload time grows with size, so among adapters of one kind this is least recently used. An adapter whose
        reload is slow for its size stays longer, in proportion.
        """
        return max(self.reload_s, _SOONEST_RELOAD_S) / (max(self.nbytes, 1) * max(self.idle_s, 1e-9))


def choose_victims(held: Sequence[Held], incoming_bytes: int, bound_bytes: int) -> tuple[str, ...] | None:
    """Digests to evict so that ``incoming_bytes`` fit into ``bound_bytes``; () if they fit already.

    None: they do not fit even without all idle adapters. Then nothing is evicted, and the new one waits for a lease
    to end.
    """
    excess = sum(entry.nbytes for entry in held) + incoming_bytes - bound_bytes
    if excess <= 0:
        return ()
    victims: list[Held] = []
    for entry in sorted((entry for entry in held if not entry.leases), key=lambda entry: entry.loss):
        victims.append(entry)
        excess -= entry.nbytes
        if excess <= 0:
            return tuple(victim.digest for victim in _spare(victims, -excess))
    return None


def _spare(victims: list[Held], surplus: int) -> list[Held]:
    """Removes victims that a later, larger one made unnecessary, those with the greatest loss first."""
    needed = []
    for victim in reversed(victims):
        if victim.nbytes <= surplus:
            surplus -= victim.nbytes
        else:
            needed.append(victim)
    return needed[::-1]
