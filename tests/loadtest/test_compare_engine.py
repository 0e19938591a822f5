"""The comparison of two checkouts' engines: the order of its bursts, its bound, and what it counts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from loadtest.compare_engine import Compared, Mix, compare, upper_bound
from loadtest.engine_bursts import counted
from service.engine.kernels.levels import supported_levels
from service.engine.load import load_engine
from service.settings import EngineOptions
from tests.engines import greedy_jobs
from tests.models import VOCABULARY, tiny_base


class Stub:
    """A worker that notes when it was asked."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name = name
        self.asked = asked

    def burst(self, mix: Mix, steps: int) -> float:
        self.asked.append(self.name)
        return 2.0 if self.name == "A" else 3.0

    def calls(self, mix: Mix) -> Counter[str]:
        return Counter({"add": 2 if self.name == "A" else 3})


def test_bursts_alternate_and_more_calls_are_named() -> None:
    asked: list[str] = []
    found = compare(Stub("A", asked), Stub("B", asked), Mix.of("32:8"), pairs=4, steps=1)  # type: ignore[arg-type]
    assert "".join(asked) == "AB" + "ABBAABBA"
    assert found.ratios == [1.5] * 4
    assert found.more_calls == {"add": 1}
    assert not found.is_within(2.0)
    same = Compared(found.mix, found.before_s, found.after_s, found.after_calls, found.after_calls)
    assert same.is_within(1.5)
    assert not same.is_within(1.4)


def test_the_bound_is_above_the_median_in_about_95_of_100_samples() -> None:
    draw = random.Random(0)
    above = sum(upper_bound([draw.random() for _ in range(40)]) >= 0.5 for _ in range(2000))
    assert 0.93 <= above / 2000 <= 0.99
    assert upper_bound([1.0, 2.0]) == 2.0


@pytest.mark.cores
@pytest.mark.parametrize("backend", ["torch", "native"])
def test_the_calls_of_a_step_are_counted(backend: str) -> None:
    if backend == "native" and not supported_levels():
        pytest.skip("no level of the kernels runs on this processor")
    engine = load_engine(tiny_base("llama"), EngineOptions(kv_cache_bytes=1 << 20, backend=backend), name="base")
    for job in greedy_jobs([None], VOCABULARY):
        engine.submit(*job)
    engine.step()
    with counted() as calls:
        engine.step()
    if backend == "native":
        assert calls == {"native step": 1}
    else:
        assert calls["aten.mm.default"] + calls["aten.addmm.default"] + calls["aten.linear.default"] >= 3 * 7
        assert not any("view" in name for name in calls)
