"""Whose turn it is and who gives way: on queues written down, without an engine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.engine.sequence import Sequence, sequences_of
from service.engine.turns import by_right, next_tenant, victim
from tests.service.engine.simulated import request


def queue(text: str) -> list[Sequence]:
    """``a2 b0``: one of tenant a with two blocks, one of tenant b with none."""
    found = []
    for word in text.split():
        [sequence] = sequences_of(request(word, [1], tenant=word[0]), None)
        sequence.blocks = list(range(int(word[1:])))
        found.append(sequence)
    return found


def text(sequences: list[Sequence]) -> str:
    return " ".join(sequence.id.request_id for sequence in sequences)


QUEUES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=8).map(
    lambda pairs: queue(" ".join(f"{tenant}{blocks}" for tenant, blocks in pairs))
)


def test_each_tenants_oldest_goes_before_all_further_ones() -> None:
    assert text(by_right(queue("a1 a2 b3 a4 b5 c6"))) == "a1 b3 c6 a2 a4 b5"
    assert by_right([]) == []


@given(QUEUES)
def test_an_order_by_right_has_everyone_once(running: list[Sequence]) -> None:
    assert sorted(map(id, by_right(running))) == sorted(map(id, running))


def test_the_last_of_the_tenant_that_holds_most_gives_way() -> None:
    running = queue("a1 b3 a1 b1 c9 a1")
    assert victim(running, set()) is running[3], "b holds more than a; c keeps its only one"
    assert victim(running, {running[3]}) is running[5]


def test_where_each_has_one_the_last_admitted_gives_way() -> None:
    running = queue("a1 b3 c9")
    assert victim(running, set()) is running[2]
    assert victim(running, {running[2]}) is running[1]
    assert victim(running, set(running)) is None


@given(QUEUES, st.sets(st.integers(0, 7)))
def test_a_victim_is_found_unless_all_are_planned(running: list[Sequence], at: set[int]) -> None:
    planned = {sequence for index, sequence in enumerate(running) if index in at}
    found = victim(running, planned)
    assert (found is None) == (len(planned) == len(running))
    assert found not in planned


def test_the_tenant_served_least_is_admitted_if_it_has_rows() -> None:
    waiting = {"a": queue("a0"), "b": queue("b0"), "c": []}
    served = {"a": 5.0, "b": 1.0, "c": 0.0}
    assert next_tenant([], 8, waiting, served, {"a": 4, "b": 4, "c": 4}) == "b"
    assert next_tenant([], 8, waiting, served, {"a": 4, "b": 0}) == "a"
    assert next_tenant([], 8, waiting, served, {}) is None


def test_no_tenant_takes_the_last_place() -> None:
    waiting = {"a": queue("a0"), "b": queue("b0")}
    served, rows = {"a": 0.0, "b": 9.0}, {"a": 4, "b": 4}
    assert next_tenant(queue("a1 a1 a1"), 5, waiting, served, rows) == "a"
    assert next_tenant(queue("a1 a1 a1 a1"), 5, waiting, served, rows) == "b"
    assert next_tenant(queue("a1 a1 a1 a1 b1"), 5, waiting, served, rows) is None
