"""The arithmetic of the comparison of refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench_tenancy import Refusal, area, compare, comparisons, ks_distance, ks_probability

SAMPLES = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=30)


@given(SAMPLES, SAMPLES)
def test_the_area_counts_pairs(a: list[float], b: list[float]) -> None:
    pairs = [(x, y) for x in a for y in b]
    counted = sum(1.0 if y > x else 0.5 if y == x else 0.0 for x, y in pairs)
    assert area(np.array(a), np.array(b)) == pytest.approx(counted / len(pairs))


@given(SAMPLES, SAMPLES)
def test_the_distance_is_the_greatest_between_the_shares(a: list[float], b: list[float]) -> None:
    def share(values: list[float], at: float) -> float:
        return sum(value <= at for value in values) / len(values)

    greatest = max(abs(share(a, at) - share(b, at)) for at in [*a, *b])
    assert ks_distance(np.array(a), np.array(b)) == pytest.approx(greatest)


@pytest.mark.parametrize(("scaled", "probability"), [(0.1, 1.0), (1.358, 0.05), (1.628, 0.01), (9.0, 0.0)])
def test_kolmogorovs_table(scaled: float, probability: float) -> None:
    assert ks_probability(scaled / 50**0.5, 100, 100) == pytest.approx(probability, abs=5e-4)


def test_intervals_hold_what_is_equal_nearly_always_and_not_what_is_slower() -> None:
    held = {"ratio": 0, "area": 0, "slower": 0}
    for seed in range(20):
        draw = np.random.default_rng(seed)
        a, same, slower = draw.normal(100, 5, 300), draw.normal(100, 5, 300), draw.normal(103, 5, 300)
        equal, apart = compare("a", a, "same", same), compare("a", a, "slower", slower)
        held["ratio"] += equal.ratio_95[0] <= 1 <= equal.ratio_95[1]
        held["area"] += equal.auc_95[0] <= 0.5 <= equal.auc_95[1]
        held["slower"] += apart.ratio_95[0] > 1 and apart.auc_95[0] > 0.5 and apart.ks_p < 0.05
    assert held["ratio"] >= 16
    assert held["area"] >= 16
    assert held["slower"] == 20


def test_each_group_is_compared_with_its_first() -> None:
    ways = [
        Refusal(group, name, "k", "m", 404, [1.0, 2.0])
        for group, name in (("a", "a0"), ("a", "a1"), ("b", "b0"), ("b", "b1"), ("b", "b2"))
    ]
    assert [(one.first, one.second) for one in comparisons(ways)] == [("a0", "a1"), ("b0", "b1"), ("b0", "b2")]
