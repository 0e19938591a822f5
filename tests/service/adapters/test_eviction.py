"""Which idle adapters go: on random states."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.adapters.eviction import Held, choose_victims

HELD = st.builds(
    Held,
    digest=st.uuids().map(str),
    nbytes=st.integers(0, 100),
    leases=st.integers(0, 2),
    idle_s=st.floats(0, 1e6),
    reload_s=st.floats(0, 10),
)
STATES = st.lists(HELD, max_size=12, unique_by=lambda held: held.digest)


def idle(digest: str, nbytes: int, idle_s: float, reload_s: float = 0.1) -> Held:
    return Held(digest, nbytes, 0, idle_s, reload_s)


@given(STATES, st.integers(0, 200), st.integers(0, 600))
def test_room_is_made_exactly_when_it_can_be(held: list[Held], incoming: int, bound: int) -> None:
    victims = choose_victims(held, incoming, bound)

    pinned = sum(entry.nbytes for entry in held if entry.leases)
    assert (victims is None) == (pinned + incoming > bound)
    if victims is not None:
        chosen = {entry.digest: entry for entry in held if entry.digest in victims}
        left = sum(entry.nbytes for entry in held if entry.digest not in chosen)
        assert left + incoming <= bound
        assert not any(entry.leases for entry in chosen.values())
        # Not one victim more than needed.
        assert all(left + incoming + victim.nbytes > bound for victim in chosen.values())


def test_the_longest_idle_goes_first() -> None:
    held = [idle("young", 10, 1), idle("old", 10, 9), idle("middle", 10, 5)]
    assert choose_victims(held, 10, 30) == ("old",)
    assert choose_victims(held, 20, 30) == ("old", "middle")


def test_what_is_dear_to_reload_stays_longer() -> None:
    held = [idle("dear", 10, idle_s=9, reload_s=1.0), idle("cheap", 10, idle_s=3, reload_s=0.1)]
    assert choose_victims(held, 10, 20) == ("cheap",)


def test_reload_time_that_is_only_size_does_not_protect_the_large() -> None:
    held = [idle("large", 100, idle_s=9, reload_s=1.0), idle("small", 10, idle_s=3, reload_s=0.1)]
    assert choose_victims(held, 10, 110) == ("large",)


def test_a_large_victim_spares_the_small_ones_chosen_before_it() -> None:
    held = [idle("small", 1, idle_s=100), idle("large", 50, idle_s=1)]
    assert choose_victims(held, 50, 51) == ("large",)


def test_nothing_goes_when_it_would_not_be_enough() -> None:
    assert choose_victims([idle("idle", 10, 5), Held("pinned", 20, 1, 0, 0.1)], 20, 30) is None
