"""Which idle adapters make room for a new one: a decision over plain values, nothing is freed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SOONEST_RELOAD_S = 1e-3  # a measured reload of nothing must not make an entry free to evict


@dataclass(frozen=True, slots=True)
class Held:
    """What the decision needs to know of one resident adapter."""

    digest: str
    nbytes: int
    leases: int
    """Running users; pinned while not 0."""
    idle_s: float
    """Seconds since the last use ended."""
    reload_s: float
    """What reading it back would cost."""

    @property
    def loss(self) -> float:
        """Seconds of reload at stake per byte freed and second idle; the smallest goes first.

        Reload time grows with size, so among adapters of one kind this is least recently used; one that is dear
        to reload for its size stays longer, in proportion.
        """
        return max(self.reload_s, _SOONEST_RELOAD_S) / (max(self.nbytes, 1) * max(self.idle_s, 1e-9))


def choose_victims(held: Sequence[Held], incoming_bytes: int, bound_bytes: int) -> tuple[str, ...] | None:
    """Digests to evict so that ``incoming_bytes`` fit under ``bound_bytes``; () if they fit already.

    None: not even without all idle ones. Then nothing is evicted, and the newcomer waits for a lease to end.
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
    """Without those whose bytes a later, larger victim made superfluous, the dearest spared first."""
    needed = []
    for victim in reversed(victims):
        if victim.nbytes <= surplus:
            surplus -= victim.nbytes
        else:
            needed.append(victim)
    return needed[::-1]
