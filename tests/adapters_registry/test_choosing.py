"""Which base a push is checked against: by names and by what is served, never by shapes or by who was last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters_registry.choosing import ALIVE, KnownBase, choose, first_guess, is_served, names, only, requested_base
from adapters_registry.errors import BaseMismatch, BaseNotFound, BaseNotNamed


def base(name: str, mark: str, served: bool = True) -> KnownBase:
    return KnownBase(digest="sha256:" + mark * 64, name=name, served=served)


SMOL, QWEN = base("smollm2-135m-instruct", "1"), base("Qwen/Qwen2-0.5B", "2")
OLD = base("gpt2", "3", served=False)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("/home/me/models/SmolLM2-135M-Instruct/", "smollm2-135m-instruct"),
        (r"C:\models\SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("/cache/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/0123abcd", "smollm2-135m-instruct"),
        ("unsloth/SmolLM2-135M-Instruct-bnb-4bit", "smollm2-135m-instruct"),
        ("unsloth/smollm2-135m-instruct-unsloth-bnb-4bit", "smollm2-135m-instruct"),
    ],
)
def test_names_that_mean_the_same(told, name):
    assert names(told, name)


@pytest.mark.parametrize("told", ["HuggingFaceTB/SmolLM2-135M", "smollm2-135m-instruct-dpo", "instruct", "", "/"])
def test_names_that_do_not(told):
    assert not names(told, "smollm2-135m-instruct")


@pytest.mark.parametrize(
    ("told", "known", "chosen"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", (QWEN, SMOL), SMOL),
        ("qwen/qwen2-0.5b", (SMOL, QWEN), QWEN),
        (None, (SMOL,), SMOL),
        ("/home/me/my-model", (SMOL,), SMOL),
        (None, (OLD, SMOL), SMOL),
        (7, (OLD,), OLD),
        ("openai-community/gpt2", (OLD,), OLD),
    ],
)
def test_chosen(told, known, chosen):
    assert choose(told, known) == chosen
    assert choose(told, known[::-1]) == chosen, "whoever announced last"


@pytest.mark.parametrize("told", [None, "", "/home/me/my-model", "HuggingFaceTB/SmolLM2-135M"])
def test_where_several_are_served_and_none_is_named_they_are_listed(told):
    with pytest.raises(BaseNotNamed, match="--base") as caught:
        choose(told, (SMOL, QWEN, OLD))
    for known in (SMOL, QWEN):
        assert known.name in caught.value.message
        assert known.digest in caught.value.message


def test_one_that_is_known_and_not_served_is_not_taken_for_the_one_that_is():
    with pytest.raises(BaseMismatch, match=r"smollm2-135m-instruct.*--base") as caught:
        choose("openai-community/gpt2", (SMOL, OLD))
    assert caught.value.param == "base_model_name_or_path"


def test_two_digests_of_one_name():
    before, after = base("tiny", "4", served=False), base("tiny", "5")
    assert choose("tiny", (before, after)) == after
    assert requested_base("tiny", (before, after)) == after
    with pytest.raises(BaseNotNamed, match="--base DIGEST"):
        choose("tiny", (after, base("tiny", "6")))
    assert requested_base(after.digest, (after, base("tiny", "6"))) == after


def test_a_base_is_requested_by_name_or_digest():
    assert requested_base("gpt2", (SMOL, OLD)) == OLD
    with pytest.raises(BaseNotFound):
        requested_base("unknown", (SMOL, OLD))
    with pytest.raises(BaseNotFound, match="start the service"):
        first_guess(())


def test_the_only_one():
    assert only((SMOL, OLD)) == SMOL
    assert only((OLD,)) == OLD
    assert only((SMOL, QWEN)) is None
    assert only(()) is None


def test_served_is_announced_lately():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert is_served(now - ALIVE, now)
    assert not is_served(now - ALIVE - timedelta(seconds=1), now)
    assert not is_served(None, now)
