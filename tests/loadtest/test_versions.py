"""Which versions an answer may name, as aliases move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.samples import End, Moved
from loadtest.versions import history, names_another, staleness_s
from tests.loadtest.runs import DONE

MOVES = (
    Moved("t/a", 2, 10.0, 10.1),
    Moved("t/a", None, 15.0, 15.1, "the registry refused"),
    Moved("t/a", 1, 20.0, 20.1),
)


@pytest.mark.parametrize(
    ("sent_s", "first_s", "version", "stale_s"),
    [
        (5.0, 6.0, 1, 0.0),
        (5.0, 6.0, 2, None),  # not yet moved there
        (9.9, 10.05, 1, 0.0),  # across the move either will do
        (9.9, 10.05, 2, 0.0),
        (10.05, 10.2, 1, 0.0),  # sent while the move was under way
        (10.6, 11.0, 1, 0.5),
        (16.0, 17.0, 2, 0.0),  # a failed move moves nothing
        (20.5, 21.0, 2, pytest.approx(0.4)),
        (20.5, 21.0, 1, 0.0),
        (5.0, 6.0, 3, None),
    ],
)
def test_an_answer_is_as_stale_as_its_version(
    sent_s: float, first_s: float, version: int, stale_s: float | None
) -> None:
    sample = replace(DONE, model="t/a", adapter=f"t/a@{version}", sent_s=sent_s, first_s=first_s)
    assert staleness_s(sample, history(MOVES)["t/a"]) == stale_s


@pytest.mark.parametrize("adapter", [None, "", "t/b@1", "t/a", "base", "t/a@sha256:00"])
def test_what_names_no_version_of_the_adapter_was_never_live(adapter: str | None) -> None:
    assert staleness_s(replace(DONE, model="t/a", adapter=adapter), history(MOVES)["t/a"]) is None


def test_a_promotion_to_the_version_that_is_live_changes_nothing() -> None:
    assert len(history((Moved("t/a", 1, 1.0, 1.1), Moved("t/a", 1, 2.0, 2.1)))["t/a"]) == 1


@pytest.mark.parametrize(
    ("model", "adapter", "another"),
    [
        ("t/a", "t/a@7", False),
        ("t/a", "t/b@7", True),
        ("t/a", "base", True),
        ("base", "base", False),
        ("t/a@2", "t/a@2", False),
        ("t/a", None, False),
    ],
)
def test_another_adapter_is_told_by_its_name(model: str, adapter: str | None, another: bool) -> None:
    sample = replace(DONE, model=model, adapter=adapter)
    assert names_another(sample) is another
    assert not names_another(replace(sample, end=End.FAILED))
