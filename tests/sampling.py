"""Which of many equal cases a run takes: spread over all of them, drawn by a seed that every run prints."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

SEED = "TEST_SEED"
"""The environment variable that holds the seed; tests/conftest.py draws one where it is not set."""

T = TypeVar("T")


def draw(what: str) -> random.Random:
    """Random numbers of this run for ``what``."""
    return random.Random(f"{os.environ.get(SEED, '')}:{what}")


def sample(cases: Sequence[T], count: int, what: str) -> list[T]:
    """One of each of ``count`` equal stretches of ``cases``, in order."""
    edges = [len(cases) * at // count for at in range(count + 1)]
    drawn = draw(what)
    return [cases[drawn.randrange(first, last)] for first, last in pairwise(edges) if first < last]
