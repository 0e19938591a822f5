"""Draws: every model in its share, the same again for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.popularity import Uniform, Zipf, draws, weights


@given(models=st.integers(1, 40), count=st.integers(0, 200), seed=st.integers())
def test_uniform_counts_never_differ_by_more_than_one(models: int, count: int, seed: int) -> None:
    counts = Counter(islice(draws(Uniform(), models, Random(seed)), count))
    found = [counts[place] for place in range(models)]
    assert sum(found) == count
    assert max(found) - min(found) <= 1


@given(models=st.integers(1, 60), exponent=st.floats(0.1, 3))
def test_zipf_shares_follow_the_law(models: int, exponent: float) -> None:
    shares = weights(Zipf(exponent), models)
    assert sum(shares) == pytest.approx(1)
    for place, share in enumerate(shares):
        assert share / shares[0] == pytest.approx((place + 1) ** -exponent)


def test_zipf_draws_come_in_those_shares() -> None:
    counts = Counter(islice(draws(Zipf(1.1), 10, Random(3)), 20_000))
    for place, share in enumerate(weights(Zipf(1.1), 10)):
        assert counts[place] / 20_000 == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("popularity", [Uniform(), Zipf(1.1)])
def test_a_seed_gives_the_same_draws_again(popularity: Uniform | Zipf) -> None:
    first, again, other = (list(islice(draws(popularity, 9, Random(seed)), 60)) for seed in (5, 5, 6))
    assert first == again != other
