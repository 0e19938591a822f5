"""Which verdicts of a judge stand: the latest on the same answers, regardless of kind and of the order of the sides.

A judgement makes claims. A later claim of the same judge about the same thing replaces the earlier one:

========================  ===============================================================================
claim                     made by
========================  ===============================================================================
label of an answer        binary, rating; "both bad", which labels each of its answers bad
comparison of two         preference; ranking, of every two of its answers
correction of an answer   correction; a good label replaces it, and it replaces a good label, not a bad one
========================  ===============================================================================

A label from a comparison ("both bad") is replaced together with it. A comment makes no claim. Answers with the same
prompt and text are the same answer, also in different responses, as a greedy model gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from typing import NamedTuple

from service.feedback.events import FeedbackEvent, Prompt, Turn
from service.feedback.said import Binary, Correction, FeedbackInput, Preference, Ranking, Rating
from service.values import FinishReason

GOOD_STARS, BAD_STARS = 4, 2
"""Least stars of a good answer, most stars of a bad one; three stars are neither."""


class Answered(NamedTuple):
    """An answer that was judged, from the response records."""

    prompt: Prompt
    text: str
    finish: FinishReason = FinishReason.STOP


class Verdicts:
    """Every judge's claims, by the number of the event that made them. About 100 bytes of memory per claim."""

    def __init__(self) -> None:
        self._labels: dict[bytes, int] = {}
        """Number of the event; negative if the label is good."""
        self._comparisons: dict[bytes, int] = {}
        self._corrections: dict[bytes, int] = {}

    def add(self, number: int, event: FeedbackEvent, answered: Sequence[Answered]) -> None:
        """Add the claims of the event ``number``, counted from 1; later events have higher numbers."""
        said, names = event.said, _names(event, answered)
        for pair in _compared(said, names):
            self._comparisons[pair] = number
        match said:
            case Correction():
                self._corrections[names[0]] = number
                if self._labels.get(names[0], 0) < 0:
                    del self._labels[names[0]]
            case Binary() | Rating() if is_good(said):
                self._labels[names[0]] = -number
                self._corrections.pop(names[0], None)
            case Binary() | Rating() | Preference(value="both_bad"):
                self._labels |= dict.fromkeys(names, number)

    def standing(self, number: int, event: FeedbackEvent, answered: Sequence[Answered]) -> Standing:
        """The claims of the event ``number`` that no added event replaces."""
        return Standing(self, number, event.said, _names(event, answered))

    def labels(self, number: int, name: bytes) -> bool:
        return abs(self._labels.get(name, 0)) == number

    def corrects(self, number: int, name: bytes) -> bool:
        return self._corrections.get(name) == number

    def compares(self, number: int, pair: bytes) -> bool:
        return self._comparisons.get(pair) == number


class Standing:
    """Which claims of one event stand; answers are given by their index in the event."""

    def __init__(self, verdicts: Verdicts, number: int, said: FeedbackInput, names: Sequence[bytes]) -> None:
        self._verdicts = verdicts
        self._number = number
        self._said = said
        self._names = names

    def label(self, place: int) -> bool:
        with_comparison = isinstance(self._said, Preference) and not self.comparison(0, 1)
        return not with_comparison and self._verdicts.labels(self._number, self._names[place])

    def comparison(self, one: int, other: int) -> bool:
        return self._verdicts.compares(self._number, _pair(self._names[one], self._names[other]))

    def correction(self) -> bool:
        return self._verdicts.corrects(self._number, self._names[0])

    def any(self) -> bool:
        """Whether any claim of the event stands; True for an event without claims."""
        match self._said:
            case Binary() | Rating():
                return self.label(0)
            case Correction():
                return self.correction()
            case Preference() | Ranking():
                return any(self.comparison(*pair) for pair in combinations(range(len(self._names)), 2))
            case _:
                return True


def is_good(said: Binary | Rating) -> bool:
    return said.value if isinstance(said, Binary) else said.value >= GOOD_STARS


def _compared(said: FeedbackInput, names: Sequence[bytes]) -> Iterator[bytes]:
    if isinstance(said, Preference | Ranking):
        yield from (_pair(*pair) for pair in combinations(names, 2))


def _pair(one: bytes, other: bytes) -> bytes:
    """16 bytes, the same in either order."""
    return blake2b(min(one, other) + max(one, other), digest_size=16).digest()


def _names(event: FeedbackEvent, answered: Sequence[Answered]) -> list[bytes]:
    """16 bytes per answer and judge. All answers of an event have the same prompt."""
    judge = blake2b(json.dumps([event.principal, event.said.source, _plain(answered[0].prompt)]).encode())
    return [_name(judge.digest(), answer) for answer in answered]


def _name(judge: bytes, answer: Answered) -> bytes:
    return blake2b(judge + f"{answer.finish}\0{answer.text}".encode(), digest_size=16).digest()


def _plain(prompt: Prompt) -> object:
    if isinstance(prompt, str):
        return prompt
    return [[turn.role, turn.content] if isinstance(turn, Turn) else turn for turn in prompt]
