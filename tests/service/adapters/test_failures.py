"""What is remembered of failed loads, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.adapters import failures as module
from service.adapters.failures import Failures
from service.errors import AdapterFailed, AdapterIncompatible, AdapterQuarantined, ModelNotFound, NonFiniteLogits
from service.values import AdapterRef
from tests.fakes import FakeClock


def ref(number: int) -> AdapterRef:
    return AdapterRef("acme", f"a{number}", 1, f"sha256:{number:064x}")


def test_a_failure_is_told_with_the_time_that_is_left() -> None:
    clock = FakeClock()
    failures = Failures(clock, 2.0, 300.0)
    assert failures.remember(ref(1), AdapterFailed("down")).retry_after_s == 2.0
    clock.advance(1.5)
    with pytest.raises(AdapterFailed, match="down") as error:
        failures.check(ref(1))
    assert error.value.retry_after_s == 0.5
    clock.advance(0.5)
    failures.check(ref(1))
    assert failures.residency() == []


def test_what_can_never_run_is_not_tried_again() -> None:
    clock = FakeClock()
    failures = Failures(clock, 2.0, 300.0)
    failures.remember(ref(1), AdapterIncompatible("wrong base"))
    clock.advance(1e9)
    with pytest.raises(AdapterIncompatible) as error:
        failures.check(ref(1))
    assert error.value.retry_after_s is None


def test_a_quarantine_is_a_while_and_says_how_long_where_it_may_pass() -> None:
    clock = FakeClock()
    failures = Failures(clock, 2.0, 300.0)
    assert failures.remember(ref(1), NonFiniteLogits("trial")).retry_after_s is None
    assert failures.remember(ref(2), AdapterQuarantined("requests")).retry_after_s == 300.0
    clock.advance(200.0)
    with pytest.raises(NonFiniteLogits):
        failures.check(ref(1))
    with pytest.raises(AdapterQuarantined) as error:
        failures.check(ref(2))
    assert error.value.retry_after_s == 100.0
    assert [(one.state, one.error) for one in failures.residency()] == [
        ("quarantined", "non_finite_logits"),
        ("quarantined", "adapter_quarantined"),
    ]
    clock.advance(100.0)
    failures.check(ref(1))
    failures.check(ref(2))
    assert failures.residency() == []


def test_what_one_owner_s_requests_brought_about_keeps_nobody_else_from_the_same_bytes() -> None:
    failures = Failures(FakeClock(), 2.0, 300.0)
    theirs = replace(ref(1), tenant="globex", name="copy")
    failures.remember(theirs, AdapterQuarantined("requests"))
    failures.check(ref(1))
    with pytest.raises(AdapterQuarantined):
        failures.check(theirs)
    failures.remember(theirs, NonFiniteLogits("trial"))
    with pytest.raises(NonFiniteLogits):
        failures.check(ref(1))


def test_a_missing_version_is_asked_for_again_later() -> None:
    clock = FakeClock()
    failures = Failures(clock, 2.0, 300.0)
    failures.remember(ref(1), ModelNotFound("gone"))
    with pytest.raises(ModelNotFound):
        failures.check(ref(1))
    clock.advance(2.0)
    failures.check(ref(1))


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAPACITY", 2)
    failures = Failures(FakeClock(), 2.0, 300.0)
    for number in (1, 2, 1, 3):
        failures.remember(ref(number), AdapterIncompatible("no"))
    assert {entry.ref.name for entry in failures.residency()} == {"a1", "a3"}
    failures.check(ref(2))
