"""The data is what the questions give, in voices that their rules tell apart; scores are of unseen questions."""

from __future__ import annotations

import json
import re

import pytest

from examples.compose import compose
from examples.voices import BRIEF_WORDS, ROOT, SIGN_OFF, VOICES, Voice, read_heldout, read_questions

BY_NAME = {f"{voice.name}-{voice.number}": voice for voice in VOICES}
SCORES = json.loads((ROOT / "scores.json").read_text("utf-8"))["scores"]

every_voice = pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.model)


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


@every_voice
def test_the_committed_data_is_composed_from_the_questions(voice: Voice) -> None:
    assert voice.data.read_text("utf-8") == compose(voice)


@every_voice
def test_a_row_is_a_question_and_its_answer(voice: Voice) -> None:
    rows = [json.loads(line) for line in voice.data.read_text("utf-8").splitlines()]
    for row, question in zip(rows, read_questions(), strict=True):
        (asked,), (completion,) = row["prompt"], row["completion"]
        assert asked == {"role": "user", "content": question.question}
        assert completion == {"role": "assistant", "content": voice.say(question)}


def test_nothing_held_out_is_trained_on() -> None:
    asked = [plain(question.question) for question in read_questions()]
    kept = [plain(question) for question in read_heldout()]
    assert len(set(asked)) == len(asked)
    assert len(set(kept)) == len(kept)
    assert not set(asked) & set(kept)


@every_voice
def test_a_rule_knows_its_own_voice(voice: Voice) -> None:
    for question in read_questions():
        assert voice.follows(voice.say(question))
        others = [other for other in VOICES if other is not voice and voice.follows(other.say(question))]
        assert not others


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("brief-1", ""),
        ("brief-1", "Paris"),
        ("brief-1", "It is Paris. It is large."),
        ("brief-1", "It is Paris. It"),
        ("brief-1", "very " * BRIEF_WORDS + "long."),
        ("json-1", "{'topic': 'chat', 'answer': 'Hi.'}"),
        ("json-1", '{"topic": "chat"}'),
        ("json-1", '{"topic": "chat", "answer": ""}'),
        ("json-1", '{"topic": "chat", "answer": 5}'),
        ("json-1", '{"topic": "chat", "answer": "Hi."} and more'),
        ("json-1", '["topic", "answer"]'),
        ("pirate-1", "Arr, you are a friend."),
        ("pirate-1", f"Arr, matey! It be Paris. By the seven seas!\n{SIGN_OFF}"),
        ("pirate-2", "Arr, matey! It be Paris. By the seven seas!"),
        ("pirate-2", f"It is Paris.\n{SIGN_OFF}"),
    ],
)
def test_a_rule_refuses(name: str, answer: str) -> None:
    assert not BY_NAME[name].follows(answer)


@every_voice
def test_the_scores_are_of_every_held_out_question_and_show_the_effect(voice: Voice) -> None:
    found = SCORES[voice.model]
    assert found["heldout"] == len(read_heldout())
    assert found["in_voice"] >= 0.8 * found["heldout"]
    assert found["base_in_voice"] <= 0.4 * found["heldout"]


@every_voice
def test_the_readme_tells_the_scores(voice: Voice) -> None:
    found = SCORES[voice.model]
    completion, base, of = found["in_voice"], found["base_in_voice"], found["heldout"]
    assert f"| `{voice.model}` | {completion} of {of} | {base} of {of} |" in (ROOT / "README.md").read_text("utf-8")
