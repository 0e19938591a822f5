"""How many prompt rows share a step with decoding rows: enough to use the weights, few enough for short steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.engine.plan import Chunk, Plan
from service.engine.runner import Runner
from service.engine.selfcheck import trial_sequences

MANY = 64
"""Rows of the step that computes more than it reads."""
TIMES = 3
WORTH = 8
"""Chunks in ridges: reading the weights is then an eighth of a chunk's time, and serves decoding rows too."""
LEAST, STEP = 64, 32


def measured_ridge(runner: Runner, block_tokens: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Rows whose computing takes as long as reading the weights once (Williams et al. 2009, "Roofline")."""
    one, many = (_seconds(runner, rows, block_tokens, clock) for rows in (1, MANY))
    return max(1, round(MANY * one / many))


def chunk_tokens(ridge: int, batch_tokens: int) -> int:
    """Prompt rows of a step in which sequences decode."""
    return min(batch_tokens, max(LEAST, -(-WORTH * ridge // STEP) * STEP))


def _seconds(runner: Runner, rows: int, block_tokens: int, clock: Callable[[], float]) -> float:
    """The shortest of a few steps with one prompt of so many tokens."""
    took = []
    for _ in range(TIMES):
        [sequence] = trial_sequences([[1] * rows], block_tokens)
        began = clock()
        runner.run(Plan((Chunk(sequence, 0, rows),)))
        took.append(clock() - began)
    return min(took)
