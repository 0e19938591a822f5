"""Alias moves, fixed before the run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.moves import planned_moves


@given(st.integers(1, 8), st.integers(2, 5), st.integers())
def test_adapters_move_in_turn_and_go_back_only_where_they_have_been(adapters: int, versions: int, seed: int) -> None:
    names = tuple(f"t/{at}" for at in range(adapters))
    moves = planned_moves(names, versions, 0.5, 20.0, seed)
    assert len(moves) == 39
    assert [move.adapter for move in moves] == [names[at % adapters] for at in range(39)]
    assert all(0 < move.at_s < 20 for move in moves)
    for move in moves[:adapters]:
        assert move.version is not None
        assert 2 <= move.version <= versions  # version 1 is live already
    assert all(move.version is None or 1 <= move.version <= versions for move in moves)
    assert moves == planned_moves(names, versions, 0.5, 20.0, seed)
