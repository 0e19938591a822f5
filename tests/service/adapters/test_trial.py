"""Loading that ends with a trial, and failures counted until they are too many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.adapters import strikes as module
from service.adapters.strikes import Strikes
from service.adapters.trial import TriedLoader
from service.errors import AdapterFailed, NonFiniteLogits
from service.values import Failure
from tests.fakes import FakeClock

from .stub_loader import StubLoader, Weights, ref


class Engine:
    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.tried = 0

    def attempt(self, weights: Weights) -> Failure | None:
        self.tried += 1
        return self.failure


def test_what_passed_is_not_tried_again() -> None:
    engine = Engine()
    loader = TriedLoader(StubLoader(), engine.attempt)
    assert [loader.load(ref(name)).nbytes for name in "aba"] == [10, 10, 10]
    assert engine.tried == 2


def test_what_failed_names_the_adapter_and_is_tried_at_each_load() -> None:
    engine = Engine()
    loader = TriedLoader(StubLoader(), engine.attempt)
    engine.failure = NonFiniteLogits("no finite logit").failure()
    for _ in range(2):
        with pytest.raises(NonFiniteLogits, match="0a failed its trial"):
            loader.load(ref("a"))
    engine.failure = AdapterFailed("it raised").failure()
    with pytest.raises(AdapterFailed, match="it raised"):
        loader.load(ref("a"))
    assert engine.tried == 3


def test_three_strikes_within_the_time_are_out() -> None:
    clock = FakeClock()
    strikes = Strikes(clock, 10.0)
    struck = []
    for pause in (0, 1, 9.5, 0.4, 0, 0, 0):
        clock.advance(pause)
        struck.append(strikes.add(ref("a")))
    assert struck == [False, False, False, True, False, False, True]
    assert not strikes.add(ref("b"))
    assert not strikes.add(replace(ref("a"), tenant="globex"))


def test_strikes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAPACITY", 2)
    strikes = Strikes(FakeClock(), 10.0)
    for name in ("a", "a", "b", "c"):
        strikes.add(ref(name))
    assert [strikes.add(ref(name)) for name in ("a", "c", "c")] == [False, False, True]
