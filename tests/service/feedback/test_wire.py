"""What a client may send, and how it is told what is wrong."""

from __future__ import annotations

import pytest

from service.errors import InvalidValue, UnknownParameter
from service.feedback.said import Answer, Binary, Ranking, answers
from service.feedback.wire import parse_inputs
from tests.service.feedback.examples import at

TARGET = at("r1")
GOOD = {"kind": "binary", "target": TARGET, "value": True}
PAIR = {"a": at("r1"), "b": at("r2")}
RANKED = {"response_id": "r1"}


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        GOOD | {"source": "reviewers", "idempotency_key": "k"},
        {"kind": "rating", "target": {"response_id": "chatcmpl-0a.B_c:d"}, "value": 5},
        *({"kind": "preference", "target": PAIR, "value": value} for value in ("a", "b", "tie", "both_bad")),
        {"kind": "preference", "target": {"a": at("r1", 0), "b": at("r1", 1)}, "value": "a"},
        {"kind": "ranking", "target": RANKED, "value": [2, 0, 1]},
        {"kind": "correction", "target": TARGET, "value": "better"},
        {"kind": "comment", "target": TARGET, "value": "well"},
    ],
)
def test_taken(body: dict[str, object]) -> None:
    (said,) = parse_inputs(body, 10)
    assert parse_inputs({"events": [body, body]}, 10) == (said, said)
    assert answers(said)[0].response_id in ("r1", "chatcmpl-0a.B_c:d")


def test_a_ranking_names_its_choices_best_first() -> None:
    (said,) = parse_inputs({"kind": "ranking", "target": RANKED, "value": [2, 0]}, 1)
    assert isinstance(said, Ranking)
    assert answers(said) == (Answer(response_id="r1", choice=2), Answer(response_id="r1", choice=0))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "kind"),
        ({"kind": "like"}, "kind"),
        ({"kind": ["binary"]}, "kind"),
        (GOOD | {"value": 1}, "value"),
        (GOOD | {"target": "r1"}, "target"),
        (GOOD | {"target": at("r1", -1)}, "target.choice"),
        (GOOD | {"target": at("r1", 1024)}, "target.choice"),
        (GOOD | {"target": {"response_id": "r1", "choice": True}}, "target.choice"),
        (GOOD | {"target": at("r1\n")}, "target.response_id"),
        (GOOD | {"target": at("../r1")}, "target.response_id"),
        (GOOD | {"target": at("r" * 161)}, "target.response_id"),
        (GOOD | {"source": ""}, "source"),
        (GOOD | {"idempotency_key": "k" * 129}, "idempotency_key"),
        (GOOD | {"kind": "rating", "value": 6}, "value"),
        (GOOD | {"kind": "rating", "value": 4.5}, "value"),
        (GOOD | {"kind": "rating", "value": True}, "value"),
        ({"kind": "preference", "target": {"a": at("r1"), "b": at("r1")}, "value": "a"}, "target"),
        ({"kind": "preference", "target": PAIR, "value": "c"}, "value"),
        ({"kind": "ranking", "target": RANKED, "value": [0]}, "value"),
        ({"kind": "ranking", "target": RANKED, "value": [0, 0]}, "value"),
        ({"kind": "ranking", "target": RANKED, "value": list(range(65))}, "value"),
        ({"kind": "ranking", "target": RANKED, "value": [0, "1"]}, "value[1]"),
        (GOOD | {"kind": "correction", "value": ""}, "value"),
        (GOOD | {"kind": "comment", "value": "x" * 16385}, "value"),
    ],
)
def test_refused_by_field(body: dict[str, object], param: str) -> None:
    batch: dict[str, object] = {"events": [GOOD, body]}
    for whole, path in [(body, param), (batch, f"events[1].{param}")]:
        with pytest.raises(InvalidValue) as refused:
            parse_inputs(whole, 10)
        assert refused.value.param == path
        assert refused.value.message.startswith(f"{refused.value.param}: ")


@pytest.mark.parametrize(
    "field", ["prompt", "answer", "adapter", "digest", "tenant", "principal", "id", "created_at"]
)
def test_what_was_answered_is_never_taken_from_the_client(field: str) -> None:
    with pytest.raises(UnknownParameter) as refused:
        parse_inputs(GOOD | {field: "forged"}, 10)
    assert refused.value.param == field
    with pytest.raises(UnknownParameter) as refused:
        parse_inputs(GOOD | {"target": TARGET | {field: "forged"}}, 10)
    assert refused.value.param == f"target.{field}"


def test_batches() -> None:
    assert all(isinstance(said, Binary) for said in parse_inputs({"events": [GOOD] * 10}, 10))
    for events in ([], [GOOD] * 11, GOOD, None, "events"):
        with pytest.raises(InvalidValue, match="events: must be a list of 1 to 10 events"):
            parse_inputs({"events": events}, 10)
    with pytest.raises(InvalidValue) as refused:
        parse_inputs({"events": [3]}, 10)
    assert refused.value.param == "events[0]"
    with pytest.raises(UnknownParameter) as unknown:
        parse_inputs({"events": [GOOD], "source": "x"}, 10)
    assert unknown.value.param == "source"
