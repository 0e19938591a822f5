"""Protected aliases move for whoever may, to what has passed; a rollback waits for nothing."""

from __future__ import annotations

import math

import pytest

from adapters_registry.access import Principal, Scope
from adapters_registry.errors import (
    AliasNotFound,
    AliasProtected,
    EvaluationRequired,
    GenerationMismatch,
    InvalidValue,
    VersionDeleted,
    VersionNotFound,
)
from tests.adapters_registry.test_registry import state

ACME = ("acme", "support")
WRITER = Principal("writer", "acme", frozenset({Scope.ADAPTER_READ, Scope.ADAPTER_WRITE}))
MOVER = Principal("mover", "acme", frozenset({Scope.ADAPTER_WRITE, Scope.ALIAS_WRITE}))


@pytest.fixture
def protected(registry, push) -> None:
    """Three versions, the second live."""
    for fill in (0.1, 0.2, 0.3):
        push(fill=fill, promote=fill == 0.2)
    registry.protect_alias(*ACME, "production", True, by=MOVER)


def test_an_alias_tells_that_it_is_protected(registry, protected):
    record = registry.resolve(*ACME)
    assert (record.protected, record.requires, record.generation) == (True, None, 2)
    changed = registry.protect_alias(*ACME, "production", True, "safety", by=MOVER)
    assert (changed.protected, changed.requires, changed.generation) == (True, "safety", 2)
    assert registry.snapshot().adapters[0].aliases == (changed,)
    assert registry.protect_alias(*ACME, "production", False, by=MOVER).requires is None
    with pytest.raises(InvalidValue):
        registry.protect_alias(*ACME, "production", False, "safety", by=MOVER)
    with pytest.raises(AliasNotFound):
        registry.protect_alias(*ACME, "canary", True, by=MOVER)


def test_nothing_moves_it_without_the_scope(registry, push, protected):
    before = registry.snapshot()
    for move in (
        lambda: registry.move_alias(*ACME, "production", 3, 2, by=WRITER),
        lambda: registry.rollback(*ACME, by=WRITER),
        lambda: registry.delete_alias(*ACME, "production", by=WRITER),
        lambda: registry.protect_alias(*ACME, "production", False, by=WRITER),
        lambda: registry.delete_adapter(*ACME, by=WRITER),
        lambda: push(fill=0.4, promote=True, by=WRITER),
    ):
        with pytest.raises(AliasProtected):
            move()
    assert registry.snapshot() == before, "a refused push leaves no version either"
    registry.move_alias(*ACME, "canary", 3, None, by=WRITER)
    push(fill=0.4, by=WRITER)
    assert state(registry) == "acme/support: 1 2 3 4 | canary=3/1 production=2/2"
    assert registry.move_alias(*ACME, "production", 3, 2, by=MOVER).generation == 3
    assert registry.rollback(*ACME, by=MOVER).version == 2


def test_a_stale_generation_is_told_before_who_may(registry, protected):
    with pytest.raises(GenerationMismatch):
        registry.move_alias(*ACME, "production", 3, 1, by=MOVER)


def test_it_moves_to_what_has_passed_only(registry, push, protected):
    registry.protect_alias(*ACME, "production", True, "safety", by=MOVER)
    with pytest.raises(EvaluationRequired, match="'safety'"):
        registry.move_alias(*ACME, "production", 3, 2, by=MOVER)
    registry.evaluate(*ACME, 3, "speed", True, {}, by=WRITER)
    registry.evaluate(*ACME, 3, "safety", False, {"harm": 0.5}, by=WRITER)
    registry.evaluate(*ACME, 1, "safety", True, {}, by=WRITER)
    with pytest.raises(EvaluationRequired):
        registry.move_alias(*ACME, "production", 3, 2, by=MOVER)
    with pytest.raises(EvaluationRequired):
        push(fill=0.4, promote=True, by=MOVER)
    registry.evaluate(*ACME, 3, "safety", True, {"harm": 0.0}, by=WRITER)
    assert registry.move_alias(*ACME, "production", 3, 2, by=MOVER).version == 3
    with pytest.raises(AliasProtected):
        registry.move_alias(*ACME, "production", 1, 3, by=WRITER)


def test_a_rollback_waits_for_no_evaluation(registry, protected):
    registry.protect_alias(*ACME, "production", True, "safety", by=MOVER)
    assert registry.rollback(*ACME, by=MOVER).version == 1


def test_a_deleted_alias_stays_protected(registry, push, protected):
    registry.delete_alias(*ACME, "production", by=MOVER)
    with pytest.raises(AliasProtected):
        registry.move_alias(*ACME, "production", 3, None, by=WRITER)
    for number in (1, 2, 3):
        registry.delete_version(*ACME, number, by=WRITER)
    push(fill=0.5, by=WRITER)
    assert state(registry) == "acme/support: 4 | ", "the first version does not go live by itself then"
    assert registry.move_alias(*ACME, "production", 4, 0, by=MOVER).protected


def test_a_deleted_adapter_leaves_no_protection(registry, push, protected):
    registry.delete_adapter(*ACME, by=MOVER)
    push(fill=0.6, by=WRITER)
    record = registry.resolve(*ACME)
    assert (record.version, record.protected, record.generation) == (4, False, 4)


def test_evaluations_are_of_a_version(registry, push):
    digest = push(fill=0.1).record.digest
    push(fill=0.2)
    found = registry.evaluate(*ACME, digest, "safety", True, {"score": 0.25}, by=WRITER)
    assert (found.name, found.passed, found.metrics, found.actor) == ("safety", True, {"score": 0.25}, "writer")
    again = registry.evaluate(*ACME, 1, "safety", False, {}, by=MOVER)
    other = registry.evaluate(*ACME, 1, "quality", True, {}, by=MOVER)
    assert registry.version(digest).evaluations == (other, again)
    with pytest.raises(VersionNotFound):
        registry.evaluate(*ACME, 9, "safety", True, {})
    registry.delete_version(*ACME, 2)
    with pytest.raises(VersionDeleted):
        registry.evaluate(*ACME, 2, "safety", True, {})
    with pytest.raises(InvalidValue):
        registry.evaluate(*ACME, 1, "safety", True, {"score": math.nan})
