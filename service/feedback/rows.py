"""Turns one judgement into training rows with TRL's columns, or returns the reason why it gives none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

from service.feedback.events import Prompt
from service.feedback.said import Binary, Correction, FeedbackInput, Preference, Ranking, Rating
from service.feedback.verdicts import BAD_STARS, GOOD_STARS, Answered, Standing, is_good
from service.values import FinishReason


class Format(StrEnum):
    """TRL's dataset types, which determine the columns."""

    DPO = "dpo"
    """Preference: prompt, chosen, rejected. From preferences, rankings (every pair) and corrections."""
    KTO = "kto"
    """Unpaired preference: prompt, completion, label. From binaries, ratings and "both bad"."""
    SFT = "sft"
    """Prompt-completion. From corrections and answers called good."""
    PROMPT = "prompt"
    """Prompt-only. From all judgements."""


COLUMNS = {
    Format.DPO: ("prompt", "chosen", "rejected"),
    Format.KTO: ("prompt", "completion", "label"),
    Format.SFT: ("prompt", "completion"),
    Format.PROMPT: ("prompt",),
}


class Form(StrEnum):
    """TRL's name for the form of a row's texts: lists of messages, or strings. A file has one form."""

    CONVERSATIONAL = "conversational"
    STANDARD = "standard"


class Unfinished(StrEnum):
    """Why an answer is incomplete. As a wanted answer, it would teach to stop in mid-sentence."""

    CUT_OFF = "cut_off"
    """``max_tokens`` was reached."""
    STOPPED = "stopped"
    """The client disconnected."""
    BROKEN_OFF = "broken_off"
    """The service failed, or the request's time ran out."""


class Left(StrEnum):
    """Why a judgement, or a part of it, gives no row."""

    SUPERSEDED = "superseded"
    """The same judge judged the same answers again."""
    TIE = "tie"
    SELF_PAIR = "self_pair"
    """Both answers are the same text."""
    UNDECIDED = "undecided"
    """Three stars."""
    NOT_GOOD = "not_good"
    """There is no good answer to imitate."""
    OTHER_KIND = "other_kind"
    """The format does not use this kind of feedback."""
    NO_TEXT = "no_text"
    """The prompt was token ids, so there is no text to train on."""
    EMPTY = "empty"
    """The wanted answer is an empty text."""
    CUT_OFF = Unfinished.CUT_OFF
    """The wanted answer is incomplete, as for the next two reasons. A rejected answer may be incomplete."""
    STOPPED = Unfinished.STOPPED
    BROKEN_OFF = Unfinished.BROKEN_OFF


_UNFINISHED = {
    FinishReason.LENGTH: Unfinished.CUT_OFF,
    FinishReason.CANCELLED: Unfinished.STOPPED,
    FinishReason.FAILED: Unfinished.BROKEN_OFF,
}


class Row(NamedTuple):
    """One row: the values of its columns in order; texts are not in their final form yet."""

    prompt: Prompt
    texts: tuple[str, ...] = ()
    """The chosen and the rejected text, or the completion."""
    label: bool | None = None
    finish: FinishReason = FinishReason.STOP
    """How the first text ended; not a column."""


def rows(
    format: Format,
    said: FeedbackInput,
    answered: Sequence[Answered],
    standing: Standing,
    include: Collection[Unfinished] = (),
) -> Iterator[Row | Left]:
    """The rows for ``format`` from those claims of ``said`` that stand; ``answered`` are its answers, in order.

    An incomplete wanted answer gives a row only if ``include`` has the reason.
    """
    if isinstance(answered[0].prompt, tuple) and isinstance(answered[0].prompt[0], int):
        yield Left.NO_TEXT
        return
    for row in _FORMATS[format](said, answered, standing):
        yield row if isinstance(row, Left) else _unusable(row, include) or row


def columns(format: Format, row: Row) -> tuple[Form, dict[str, object]]:
    """The columns of ``row`` for TRL. Messages have only role and content, the fields that TRL knows."""
    values: list[object]
    if isinstance(row.prompt, str):
        form, values = Form.STANDARD, [row.prompt, *row.texts]
    else:
        form = Form.CONVERSATIONAL
        # rows() does not return prompts that are token ids
        prompt = [{"role": turn.role, "content": turn.content} for turn in row.prompt if not isinstance(turn, int)]
        values = [prompt, *([{"role": "assistant", "content": text}] for text in row.texts)]
    if row.label is not None:
        values.append(row.label)
    return form, dict(zip(COLUMNS[format], values, strict=True))


def _preference_rows(said: FeedbackInput, answered: Sequence[Answered], standing: Standing) -> Iterator[Row | Left]:
    match said:
        case Preference(value="a" | "b"):
            a, b = answered
            yield _pair(a, b) if said.value == "a" else _pair(b, a)
        case Preference():
            yield Left.TIE
        case Ranking():
            yield from _ranked(answered, standing)
        case Correction():
            yield _pair(answered[0]._replace(text=said.value, finish=FinishReason.STOP), answered[0])
        case _:
            yield Left.OTHER_KIND


def _ranked(answered: Sequence[Answered], standing: Standing) -> Iterator[Row | Left]:
    """Every pair, the better one first. A text that is ranked twice counts at its better place."""
    worse_places = {i for i, answer in enumerate(answered) if answer.text in {one.text for one in answered[:i]}}
    for better, worse in combinations(range(len(answered)), 2):
        if better in worse_places or worse in worse_places:
            yield Left.SELF_PAIR
        elif standing.comparison(better, worse):
            yield _pair(answered[better], answered[worse])
        else:
            yield Left.SUPERSEDED


def _unpaired_rows(said: FeedbackInput, answered: Sequence[Answered], standing: Standing) -> Iterator[Row | Left]:
    match said:
        case Rating() if BAD_STARS < said.value < GOOD_STARS:
            yield Left.UNDECIDED
        case Binary() | Rating():
            yield _labelled(answered[0], is_good(said))
        case Preference(value="both_bad"):
            for place, answer in enumerate(answered):
                yield _labelled(answer, False) if standing.label(place) else Left.SUPERSEDED
        case _:
            yield Left.OTHER_KIND


def _completion_rows(said: FeedbackInput, answered: Sequence[Answered], standing: Standing) -> Iterator[Row | Left]:
    prompt, text, finish = answered[0]
    match said:
        case Correction():
            yield Row(prompt, (said.value,))
        case Binary() | Rating():
            yield Row(prompt, (text,), finish=finish) if is_good(said) else Left.NOT_GOOD
        case _:
            yield Left.OTHER_KIND


def _prompt_rows(said: FeedbackInput, answered: Sequence[Answered], standing: Standing) -> Iterator[Row | Left]:
    yield Row(answered[0].prompt)


_FORMATS = {
    Format.DPO: _preference_rows,
    Format.KTO: _unpaired_rows,
    Format.SFT: _completion_rows,
    Format.PROMPT: _prompt_rows,
}


def _pair(chosen: Answered, rejected: Answered) -> Row | Left:
    if chosen.text == rejected.text:
        return Left.SELF_PAIR
    return Row(chosen.prompt, (chosen.text, rejected.text), finish=chosen.finish)


def _labelled(answer: Answered, label: bool) -> Row:
    return Row(answer.prompt, (answer.text,), label, answer.finish)


def _unusable(row: Row, include: Collection[Unfinished]) -> Left | None:
    """The reason why the first text must not be a wanted answer; None if it may be."""
    if not row.texts or row.label is False:
        return None
    if not row.texts[0]:
        return Left.EMPTY
    why = _UNFINISHED.get(row.finish)
    return Left(why) if why is not None and why not in include else None
