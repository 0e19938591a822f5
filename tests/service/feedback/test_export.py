"""Exports: the rows of each format, what is left out and why, and the same bytes each time."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidValue
from service.feedback.events import Author, Prompt, ResponseRecord, Turn
from service.feedback.export import export, split_of
from service.feedback.log import FeedbackLog
from service.feedback.manifest import Manifest, Selection
from service.feedback.rows import Format, Unfinished
from service.feedback.said import FeedbackInput, answers
from service.values import FinishReason
from tests.service.feedback.examples import ACME, BASE, NOON, OPTIONS, OTHER, SUPPORT, at, event, good, one, response

USER = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
RECORDS = {
    record.id: record
    for record in (
        response("r1", "hello", "hey", "hello"),
        response("r2", "good day", adapter=OTHER),
        response("text", " blue", " green", prompts=("The sky is",)),
        response("tokens", "x", prompts=((1, 2, 3),)),
        response("empty", ""),
        response("again", "hello"),
        response("cut", "hello the", finish=FinishReason.LENGTH),
        response("stopped", "hello, as", finish=FinishReason.CANCELLED),
        response("broken", "hell", finish=FinishReason.FAILED),
        response("foreign", tenant="globex"),
    )
}


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def prefer(value: str, a: dict[str, object], b: dict[str, object], **fields: object) -> FeedbackInput:
    return one(kind="preference", target={"a": a, "b": b}, value=value, **fields)


class Case:
    """A log filled by ``say`` and its exports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.minute = 0

    def say(self, *said: FeedbackInput, author: Author = ACME) -> None:
        log = FeedbackLog(self.root / "events", OPTIONS)
        for each in said:
            needed: dict[str, ResponseRecord] = {a.response_id: RECORDS[a.response_id] for a in answers(each)}
            log.submit([event(each, needed, author=author, minute=self.minute)], needed).result()
            self.minute += 1
        log.close()

    def export(self, format: Format, out: str = "out", held_out: float = 0.0, **selection: object) -> Manifest:
        fields = {"format": format, "tenant": "acme", "held_out": held_out} | selection
        return export(self.root / "events", Selection.model_validate(fields), self.root / out)

    def rows(self, name: str = "conversational-train.jsonl", out: str = "out") -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.root / out / name).read_text().splitlines()]

    def rows_of(self, format: Format) -> list[dict[str, object]]:
        """All conversational ones of an export made for it."""
        return self.rows(out=format) if self.export(format, out=format).files else []


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_dpo(case: Case) -> None:
    case.say(
        prefer("a", at("r1"), at("r2")),
        prefer("b", at("text"), at("text", 1)),
        one(kind="ranking", target={"response_id": "r1"}, value=[1, 0, 2]),
        one(kind="correction", target=at("r2"), value="hi!"),
        prefer("both_bad", at("r2"), at("r1", 1)),
        prefer("a", at("r1"), at("r1", 2)),
        good("r1"),
    )
    case.say(prefer("tie", at("r1"), at("r1", 1)), prefer("b", at("r2"), at("r1")), author=Author("acme", "key-2"))
    manifest = case.export(Format.DPO)
    assert case.rows() == [
        {"prompt": USER, "chosen": assistant(chosen), "rejected": assistant(rejected)}
        for chosen, rejected in [("hello", "good day"), ("hey", "hello"), ("hi!", "good day")]
    ]
    assert case.rows("standard-train.jsonl") == [{"prompt": "The sky is", "chosen": " green", "rejected": " blue"}]
    assert manifest.left == {"duplicate": 1, "other_kind": 1, "self_pair": 3, "tie": 2}
    assert (manifest.events, manifest.rows, manifest.columns) == (9, 4, ("prompt", "chosen", "rejected"))


def test_kto(case: Case) -> None:
    stars = [one(kind="rating", target=at("r1", 1), value=3), one(kind="rating", target=at("r2"), value=2)]
    case.say(good("r1"), good("text", value=False), *stars)
    case.say(prefer("both_bad", at("r1", 1), at("r2")), author=Author("acme", "key-2"))
    manifest = case.export(Format.KTO)
    assert case.rows() == [
        {"prompt": USER, "completion": assistant(text), "label": label}
        for text, label in [("hello", True), ("good day", False), ("hey", False)]
    ]
    assert case.rows("standard-train.jsonl") == [{"prompt": "The sky is", "completion": " blue", "label": False}]
    assert manifest.left == {"duplicate": 1, "undecided": 1}


def test_sft(case: Case) -> None:
    case.say(
        good("r1"),
        good("r2", value=False),
        one(kind="rating", target=at("r1", 1), value=4),
        one(kind="correction", target=at("text"), value=" grey"),
        good("empty"),
        good("tokens"),
        one(kind="comment", target=at("r1"), value="nice"),
    )
    manifest = case.export(Format.SFT)
    assert case.rows() == [{"prompt": USER, "completion": assistant(text)} for text in ("hello", "hey")]
    assert case.rows("standard-train.jsonl") == [{"prompt": "The sky is", "completion": " grey"}]
    assert manifest.left == {"empty": 1, "no_text": 1, "not_good": 1, "other_kind": 1}


def test_prompt(case: Case) -> None:
    case.say(good("r1"), good("r2"), good("text"))
    assert case.export(Format.PROMPT).left == {"duplicate": 1}
    assert case.rows() == [{"prompt": USER}]
    assert case.rows("standard-train.jsonl") == [{"prompt": "The sky is"}]


def test_the_manifest_says_what_the_files_are(case: Case) -> None:
    case.say(prefer("tie", at("r1"), at("r1", 1)), good("r1"), good("r2"), good("text", value=False))
    manifest = case.export(Format.KTO, held_out=0.5)
    assert Manifest.model_validate_json((case.root / "out" / "manifest.json").read_bytes()) == manifest
    names = {path.name for path in (case.root / "out").iterdir()}
    assert names == {"manifest.json", *(file.name for file in manifest.files)}
    for file in manifest.files:
        content = (case.root / "out" / file.name).read_bytes()
        assert (file.digest, file.bytes) == (f"sha256:{sha256(content).hexdigest()}", len(content))
        assert file.rows == content.count(b"\n") > 0
    assert (manifest.first, manifest.last) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=3))
    assert manifest.adapters == {SUPPORT.digest: 2, OTHER.digest: 1}
    assert manifest.bases == {BASE: 3}


def test_the_same_bytes_each_time(case: Case) -> None:
    case.say(good("r1"), good("r2"), good("text"))
    case.export(Format.SFT)
    case.export(Format.SFT, out="again")
    files = {path.name: path.read_bytes() for path in (case.root / "out").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (case.root / "again").iterdir()}


def test_a_persons_last_word_counts(case: Case) -> None:
    case.say(good("r1"), good("r1", value=False), good("r2", key="k"))
    case.say(good("r1"), author=Author("acme", "key-2"))
    assert case.export(Format.KTO).left == {"superseded": 1}
    assert [row["label"] for row in case.rows()] == [False, True, True]


def stars(value: int, name: str = "r1", choice: int = 0, **fields: object) -> FeedbackInput:
    return one(kind="rating", target=at(name, choice), value=value, **fields)


def ranks(*choices: int) -> FeedbackInput:
    return one(kind="ranking", target={"response_id": "r1"}, value=list(choices))


def corrects(value: str, name: str = "r1") -> FeedbackInput:
    return one(kind="correction", target=at(name), value=value)


GOOD, BAD, BETTER = good("r1"), good("r1", value=False), prefer("a", at("r1"), at("r2"))
BOTH_BAD = prefer("both_bad", at("r1"), at("r2"))


@pytest.mark.parametrize(
    ("format", "said", "expected", "left"),
    [
        # whatever the kind
        (Format.KTO, (stars(5), BAD), ["hello -"], {"superseded": 1}),
        (Format.KTO, (BAD, stars(5)), ["hello +"], {"superseded": 1}),
        (Format.KTO, (GOOD, stars(3)), [], {"superseded": 1, "undecided": 1}),
        (Format.SFT, (stars(5), BAD), [], {"superseded": 1, "not_good": 1}),
        (Format.PROMPT, (stars(5), BAD), [""], {"superseded": 1}),
        # whatever the order of the sides
        (Format.DPO, (BETTER, prefer("a", at("r2"), at("r1"))), ["good day > hello"], {"superseded": 1}),
        (Format.DPO, (BETTER, prefer("tie", at("r2"), at("r1"))), [], {"superseded": 1, "tie": 1}),
        # the same answers in a pair and in a ranking: the others of the ranking stand
        (Format.DPO, (ranks(0, 1), prefer("b", at("r1"), at("r1", 1))), ["hey > hello"], {"superseded": 1}),
        (Format.DPO, (prefer("a", at("r1"), at("r1", 1)), ranks(1, 0)), ["hey > hello"], {"superseded": 1}),
        (Format.DPO, (ranks(0, 1), ranks(1, 0)), ["hey > hello"], {"superseded": 1}),
        (Format.DPO, (ranks(0, 1, 2),), ["hello > hey"], {"self_pair": 2}),
        # both bad is said of each, too
        (Format.KTO, (GOOD, BOTH_BAD), ["hello -", "good day -"], {"superseded": 1}),
        (Format.KTO, (BOTH_BAD, GOOD), ["good day -", "hello +"], {"superseded": 1}),
        (Format.KTO, (BOTH_BAD, BETTER), [], {"superseded": 1, "other_kind": 1}),
        (Format.SFT, (GOOD, BOTH_BAD), [], {"superseded": 1, "other_kind": 1}),
        # what is called good needs no correction; what is called bad may have one
        (Format.SFT, (corrects("hi!"), GOOD), ["hello"], {"superseded": 1}),
        (Format.SFT, (GOOD, corrects("hi!")), ["hi!"], {"superseded": 1}),
        (Format.SFT, (BAD, corrects("hi!")), ["hi!"], {"not_good": 1}),
        (Format.SFT, (corrects("hi!"), BAD), ["hi!"], {"not_good": 1}),
        (Format.DPO, (corrects("hi!"), corrects("hi there")), ["hi there > hello"], {"superseded": 1}),
        # the same answer, given once more
        (Format.KTO, (GOOD, good("again", value=False)), ["hello -"], {"superseded": 1}),
        (Format.DPO, (BETTER, prefer("b", at("again"), at("r2"))), ["good day > hello"], {"superseded": 1}),
        # not the same
        (Format.KTO, (GOOD, stars(1, choice=1)), ["hello +", "hey -"], {}),
        (Format.KTO, (GOOD, stars(1, source="judge")), ["hello +", "hello -"], {}),
        (Format.KTO, (GOOD, one(kind="comment", target=at("r1"), value="hm")), ["hello +"], {"other_kind": 1}),
    ],
)
def test_a_judges_last_verdict_counts(
    case: Case, format: Format, said: tuple[FeedbackInput, ...], expected: list[str], left: dict[str, int]
) -> None:
    case.say(*said)
    assert case.export(format).left == left
    assert [_short(row) for row in (case.rows() if expected else [])] == expected


def _short(row: dict[str, Any]) -> str:
    texts = " > ".join(row[name][0]["content"] for name in ("chosen", "rejected", "completion") if name in row)
    return texts + {True: " +", False: " -", None: ""}[row.get("label")]


ANSWERS = st.sampled_from([at("r1"), at("r1", 1), at("r1", 2), at("r2"), at("again")])
VERDICTS = st.one_of(
    st.builds(lambda a, value: one(kind="rating", target=a, value=value), ANSWERS, st.integers(1, 5)),
    st.builds(lambda a, value: one(kind="binary", target=a, value=value), ANSWERS, st.booleans()),
    st.permutations([0, 1, 2]).map(lambda order: ranks(*order)),
    st.builds(
        lambda pair, value: prefer(value, *pair),
        st.lists(ANSWERS, min_size=2, max_size=2, unique_by=str),
        st.sampled_from(["a", "b", "tie", "both_bad"]),
    ),
)


@given(st.lists(VERDICTS, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_judge_contradicts_itself(said: list[FeedbackInput]) -> None:
    with TemporaryDirectory() as root:
        case = Case(Path(root))
        case.say(*said)
        labels = [_short(row) for row in case.rows_of(Format.KTO)]
        pairs = [_short(row).split(" > ") for row in case.rows_of(Format.DPO)]
        liked = [_short(row) for row in case.rows_of(Format.SFT)]
        assert len({label[:-2] for label in labels}) == len(labels)
        assert len({frozenset(pair) for pair in pairs}) == len(pairs)
        assert {f"{text} +" for text in liked} == {label for label in labels if label.endswith("+")}


def test_what_is_not_selected_replaces_nothing(case: Case) -> None:
    case.say(good("r1"), good("r1", value=False), prefer("a", at("r1"), at("r2")), prefer("b", at("r1"), at("r2")))
    assert case.export(Format.KTO, until=NOON + timedelta(minutes=1)).left == {}
    assert [row["label"] for row in case.rows()] == [True]


@pytest.mark.parametrize(("name", "reason"), [("cut", "cut_off"), ("stopped", "stopped"), ("broken", "broken_off")])
def test_an_answer_without_a_proper_end_is_not_wanted(case: Case, name: str, reason: str) -> None:
    case.say(stars(5, name), prefer("a", at(name), at("r1")), prefer("b", at(name), at("r2")))
    case.say(stars(1, name), author=Author("acme", "key-2"))
    case.say(corrects("hello there", name), author=Author("acme", "key-3"))
    text = RECORDS[name].choices[0].text
    expected = {
        Format.SFT: (["hello there"], {reason: 1, "other_kind": 2, "not_good": 1}, [text]),
        Format.KTO: ([f"{text} -"], {reason: 1, "other_kind": 3}, [f"{text} +"]),
        Format.DPO: (
            [f"good day > {text}", f"hello there > {text}"],
            {reason: 1, "other_kind": 2},
            [f"{text} > hello"],
        ),
        Format.PROMPT: ([""], {"duplicate": 4}, []),
    }
    for format, (usual, left, more) in expected.items():
        assert case.export(format, out=format).left == left
        assert [_short(row) for row in case.rows(out=format)] == usual
        asked = case.export(format, out=f"{format}-all", include=[reason])
        assert asked.selection.include == (Unfinished(reason),)
        assert reason not in asked.left
        assert sorted(_short(row) for row in case.rows(out=f"{format}-all")) == sorted(usual + more)
        others = set(Unfinished) - {Unfinished(reason)}
        assert case.export(format, out=f"{format}-others", include=list(others)).left == left


def test_an_event_sent_again_after_its_key_was_forgotten_counts_once(case: Case) -> None:
    log = FeedbackLog(case.root / "events", OPTIONS.model_copy(update={"keys": 1}))
    records = {"r1": RECORDS["r1"]}
    for said in (good("r1", key="old"), good("r1", key="new", value=False), good("r1", key="old")):
        log.submit([event(said, records)], records).result()
    log.close()
    assert case.export(Format.KTO).left == {"sent_twice": 1, "superseded": 1}
    assert [row["label"] for row in case.rows()] == [False]


def test_selections(case: Case) -> None:
    case.say(good("r1"), good("r2"), one(kind="binary", target=at("r1", 1), value=True, source="judge"))
    case.say(good("foreign"), author=Author("globex", "key-9"))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["hello", "good day", "hey"]),
        ({"adapters": ["acme/other"]}, ["good day"]),
        ({"adapters": [SUPPORT.digest, "acme/other"]}, ["hello", "good day", "hey"]),
        ({"adapters": ["globex/support"]}, []),
        ({"sources": ["judge"]}, ["hey"]),
        ({"since": NOON + timedelta(minutes=1)}, ["good day", "hey"]),
        ({"until": NOON + timedelta(minutes=1)}, ["hello"]),
        ({"tenant": "globex"}, ["hello"]),
        ({"tenant": "nobody"}, []),
    ]
    for number, (selection, texts) in enumerate(cases):
        manifest = case.export(Format.SFT, out=str(number), **selection)
        assert [file.rows for file in manifest.files] == ([len(texts)] if texts else [])
        if texts:
            assert [row["completion"] for row in case.rows(out=str(number))] == [assistant(text) for text in texts]


def test_an_export_is_never_mixed_with_another(case: Case) -> None:
    case.say(good("r1"))
    case.export(Format.SFT)
    with pytest.raises(InvalidValue, match="is not an empty directory"):
        case.export(Format.SFT)
    with pytest.raises(InvalidValue, match="is no feedback log"):
        export(case.root / "absent", Selection(format=Format.SFT, tenant="acme"), case.root / "other")


def test_the_service_may_go_on_meanwhile(case: Case) -> None:
    case.say(good("r1"))
    log = FeedbackLog(case.root / "events", OPTIONS)
    assert case.export(Format.SFT).rows == 1
    log.append(event(good("r1")))
    log.close()


PROMPTS = st.one_of(st.text(), st.lists(st.text(), min_size=1).map(lambda texts: tuple(map(_turn, texts))))


def _turn(text: str) -> Turn:
    return Turn(role="user", content=text)


@given(PROMPTS, st.floats(0, 0.99), st.floats(0, 0.99))
def test_held_out_by_the_prompt_alone(prompt: Prompt, small: float, large: float) -> None:
    small, large = sorted((small, large))
    assert split_of(prompt, 0.0) == "train"
    if split_of(prompt, small) == "held_out":
        assert split_of(prompt, large) == "held_out", "a larger fraction keeps what was held out"


def test_about_the_fraction_asked_for_is_held_out() -> None:
    held = sum(split_of(f"prompt {i}", 0.1) == "held_out" for i in range(5000))
    assert 400 < held < 600


@pytest.mark.parametrize("format", list(Format))
def test_datasets_loads_them_and_trl_knows_their_type(case: Case, format: Format) -> None:
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    case.say(good("r1"), good("text"), prefer("a", at("r1"), at("r2")), prefer("b", at("text"), at("text", 1)))
    manifest = case.export(format)
    assert {file.form for file in manifest.files} == {"conversational", "standard"}
    for file in manifest.files:
        path = str(case.root / "out" / file.name)
        rows = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(case.root / "cache"))
        assert (len(rows), tuple(rows.column_names)) == (file.rows, manifest.columns)
        assert trl.is_conversational(rows[0]) == (file.form == "conversational")
