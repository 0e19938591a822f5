"""The ridge: where computing a step takes as long as reading the weights for it."""

from __future__ import annotations

import pytest

from service.engine.plan import Plan, Sampled
from service.engine.ridge import chunk_tokens, measured_ridge


class Timed:
    """A runner whose steps take what a machine of this bandwidth and speed would."""

    def __init__(self, read_s: float, row_s: float) -> None:
        self.read_s, self.row_s, self.now = read_s, row_s, 0.0

    def run(self, plan: Plan) -> list[Sampled]:
        self.now += max(self.read_s, plan.rows * self.row_s)
        return [Sampled(0, None)]


@pytest.mark.parametrize(("read_ms", "row_ms", "rows"), [(7.5, 0.65, 12), (7.5, 0.2, 38), (1.0, 5.0, 1)])
def test_it_is_found_from_two_steps(read_ms: float, row_ms: float, rows: int) -> None:
    runner = Timed(read_ms / 1e3, row_ms / 1e3)
    found = measured_ridge(runner, 16, clock=lambda: runner.now)
    assert found == rows


def test_chunks_are_several_ridges_within_what_a_step_takes() -> None:
    assert chunk_tokens(12, 512) == 96
    assert chunk_tokens(1, 512) == 64
    assert chunk_tokens(300, 512) == 512
    assert chunk_tokens(1, 16) == 16
