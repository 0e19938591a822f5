"""The number of prompt rows in a step with decoding rows: enough to make use of each read of the weights, few enough
for short steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.engine.plan import Chunk, Plan
from service.engine.runner import Runner
from service.engine.selfcheck import trial_sequences

MANY = 64
"""Rows of the measured step whose time is spent in computing, not in reading weights."""
TIMES = 3
WORTH = 8
"""Size of a chunk in ridges. Reading the weights is then an eighth of its time, and serves decoding rows too."""
LEAST, STEP = 64, 32


def measured_ridge(runner: Runner, block_tokens: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Number of rows that take as long to compute as one read of the weights (Williams et al. 2009, "Roofline")."""
    one, many = (_seconds(runner, rows, block_tokens, clock) for rows in (1, MANY))
    return max(1, round(MANY * one / many))


def chunk_tokens(ridge: int, batch_tokens: int) -> int:
    """Bound on prompt rows of a step in which sequences decode."""
    return min(batch_tokens, max(LEAST, -(-WORTH * ridge // STEP) * STEP))


def _seconds(runner: Runner, rows: int, block_tokens: int, clock: Callable[[], float]) -> float:
    """The shortest time of a few steps with one prompt of ``rows`` tokens, in seconds."""
    took = []
    for _ in range(TIMES):
        [sequence] = trial_sequences([[1] * rows], block_tokens)
        began = clock()
        runner.run(Plan((Chunk(sequence, 0, rows),)))
        took.append(clock() - began)
    return min(took)
