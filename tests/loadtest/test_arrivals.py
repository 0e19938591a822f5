"""Poisson arrivals: within the phase, in order, at their mean rate, fixed by the seed."""

from __future__ import annotations

import statistics
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import poisson_times


@given(per_s=st.floats(0.1, 50), seconds=st.floats(0, 30), seed=st.integers())
def test_times_are_in_order_within_the_phase_and_repeatable(per_s: float, seconds: float, seed: int) -> None:
    times = poisson_times(per_s, seconds, Random(seed))
    assert all(0 < at < seconds for at in times)
    assert all(earlier < later for earlier, later in pairwise(times))
    assert times == poisson_times(per_s, seconds, Random(seed))


def test_gaps_are_exponential() -> None:
    gaps = [later - earlier for earlier, later in pairwise(poisson_times(4, 5000, Random(1)))]
    assert statistics.fmean(gaps) == pytest.approx(0.25, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.05)
