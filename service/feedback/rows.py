"""One judgement to training rows, in the columns that TRL documents; or why it gives none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

from service.feedback.events import Prompt
from service.feedback.said import Binary, Correction, FeedbackInput, Preference, Ranking, Rating

GOOD_STARS, BAD_STARS = 4, 2
"""At least, and at most; three stars say neither."""


class Format(StrEnum):
    """What is trained: the columns in TRL's names for the dataset types."""

    DPO = "dpo"
    """Preference: prompt, chosen, rejected. From preferences, rankings (every pair) and corrections."""
    KTO = "kto"
    """Unpaired preference: prompt, completion, label. From binaries, ratings and "both bad"."""
    SFT = "sft"
    """Prompt-completion. From corrections and answers called good."""
    PROMPT = "prompt"
    """Prompt-only. Whatever was judged."""


COLUMNS = {
    Format.DPO: ("prompt", "chosen", "rejected"),
    Format.KTO: ("prompt", "completion", "label"),
    Format.SFT: ("prompt", "completion"),
    Format.PROMPT: ("prompt",),
}


class Form(StrEnum):
    """How TRL calls a row's texts: lists of messages, or strings. One file holds one form."""

    CONVERSATIONAL = "conversational"
    STANDARD = "standard"


class Left(StrEnum):
    """Why a judgement, or a part of it, gives no row."""

    TIE = "tie"
    SELF_PAIR = "self_pair"
    """Both answers are the same text."""
    UNDECIDED = "undecided"
    """Three stars."""
    NOT_GOOD = "not_good"
    """Nothing to imitate."""
    OTHER_KIND = "other_kind"
    """The format has no use for this kind of feedback."""
    NO_TEXT = "no_text"
    """The prompt was token ids: there is no text to train on."""
    EMPTY = "empty"
    """The wanted answer is an empty text."""


class Answered(NamedTuple):
    """An answer that was judged, from the response records."""

    prompt: Prompt
    text: str


class Row(NamedTuple):
    """One row: its columns' values in order; texts not yet in their form."""

    prompt: Prompt
    texts: tuple[str, ...] = ()
    """chosen and rejected, or the completion."""
    label: bool | None = None


def rows(format: Format, said: FeedbackInput, answered: Sequence[Answered]) -> Iterator[Row | Left]:
    """What ``said`` gives for ``format``; ``answered`` are its answers, in their order."""
    if isinstance(answered[0].prompt, tuple) and isinstance(answered[0].prompt[0], int):
        yield Left.NO_TEXT
        return
    for row in _FORMATS[format](said, answered):
        yield Left.EMPTY if isinstance(row, Row) and _wants_nothing(row) else row


def columns(format: Format, row: Row) -> tuple[Form, dict[str, object]]:
    """``row`` as TRL reads it. Of a message only role and content are told: TRL knows no other fields."""
    values: list[object]
    if isinstance(row.prompt, str):
        form, values = Form.STANDARD, [row.prompt, *row.texts]
    else:
        form = Form.CONVERSATIONAL
        # rows() left the prompts out that are token ids
        prompt = [{"role": turn.role, "content": turn.content} for turn in row.prompt if not isinstance(turn, int)]
        values = [prompt, *([{"role": "assistant", "content": text}] for text in row.texts)]
    if row.label is not None:
        values.append(row.label)
    return form, dict(zip(COLUMNS[format], values, strict=True))


def _preference_rows(said: FeedbackInput, answered: Sequence[Answered]) -> Iterator[Row | Left]:
    match said:
        case Preference(value="a" | "b"):
            a, b = answered
            yield _pair(a.prompt, *((a.text, b.text) if said.value == "a" else (b.text, a.text)))
        case Preference():
            yield Left.TIE
        case Ranking():
            for better, worse in combinations(answered, 2):
                yield _pair(better.prompt, better.text, worse.text)
        case Correction():
            yield _pair(answered[0].prompt, said.value, answered[0].text)
        case _:
            yield Left.OTHER_KIND


def _unpaired_rows(said: FeedbackInput, answered: Sequence[Answered]) -> Iterator[Row | Left]:
    match said:
        case Binary():
            yield _labelled(answered[0], said.value)
        case Rating() if BAD_STARS < said.value < GOOD_STARS:
            yield Left.UNDECIDED
        case Rating():
            yield _labelled(answered[0], said.value >= GOOD_STARS)
        case Preference(value="both_bad"):
            yield from (_labelled(answer, False) for answer in answered)
        case _:
            yield Left.OTHER_KIND


def _completion_rows(said: FeedbackInput, answered: Sequence[Answered]) -> Iterator[Row | Left]:
    prompt, text = answered[0]
    match said:
        case Correction():
            yield Row(prompt, (said.value,))
        case Binary() | Rating():
            good = said.value if isinstance(said, Binary) else said.value >= GOOD_STARS
            yield Row(prompt, (text,)) if good else Left.NOT_GOOD
        case _:
            yield Left.OTHER_KIND


def _prompt_rows(said: FeedbackInput, answered: Sequence[Answered]) -> Iterator[Row | Left]:
    yield Row(answered[0].prompt)


_FORMATS = {
    Format.DPO: _preference_rows,
    Format.KTO: _unpaired_rows,
    Format.SFT: _completion_rows,
    Format.PROMPT: _prompt_rows,
}


def _pair(prompt: Prompt, chosen: str, rejected: str) -> Row | Left:
    return Left.SELF_PAIR if chosen == rejected else Row(prompt, (chosen, rejected))


def _labelled(answer: Answered, label: bool) -> Row:
    return Row(answer.prompt, (answer.text,), label)


def _wants_nothing(row: Row) -> bool:
    return bool(row.texts) and not row.texts[0] and row.label is not False
