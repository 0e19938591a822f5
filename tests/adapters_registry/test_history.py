from __future__ import annotations

import pytest

from adapters_registry.history import Move, MoveKind, previous

SET, BACK, GONE = MoveKind.SET, MoveKind.ROLLBACK, MoveKind.DELETE


@pytest.mark.parametrize(
    ("moves", "live", "expected"),
    [
        ([], {1}, None),
        ([(SET, 1)], {1}, None),
        ([(SET, 1), (SET, 2)], {1, 2}, 1),
        ([(SET, 1), (SET, 2), (SET, 3), (BACK, 2)], {1, 2, 3}, 1),
        ([(SET, 1), (SET, 2), (SET, 3), (BACK, 2), (BACK, 1)], {1, 2, 3}, None),
        ([(SET, 1), (SET, 2), (BACK, 1), (SET, 3)], {1, 2, 3}, 1),
        ([(SET, 1), (SET, 2), (SET, 3)], {1, 3}, 1),
        ([(SET, 1), (SET, 2), (SET, 3), (BACK, 1)], {1, 3}, None),
        ([(SET, 1), (SET, 2), (SET, 1)], {1, 2}, 2),
        ([(SET, 1), (SET, 2), (GONE, None), (SET, 3)], {1, 2, 3}, None),
    ],
)
def test_previous(moves, live, expected):
    assert previous([Move(kind, version) for kind, version in moves], frozenset(live)) == expected
