"""Feedback as clients send it. Prompts and answers come from the response records, never from the client."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_CHOICES = 1024
MAX_CORRECTION = 1 << 18
MAX_COMMENT = 1 << 14
"""Characters."""
STARS = 5

Label = Annotated[str, Field(min_length=1, max_length=128)]
ResponseId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,159}$")]
Choice = Annotated[int, Field(strict=True, ge=0, lt=MAX_CHOICES)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Answer(_Value):
    """One choice of one response."""

    response_id: ResponseId
    choice: Choice = 0


class Pair(_Value):
    """Two answers to the same prompt."""

    a: Answer
    b: Answer

    @model_validator(mode="after")
    def _differ(self) -> Pair:
        if self.a == self.b:
            raise ValueError("a and b are the same answer: a preference needs two")
        return self


class Response(_Value):
    """All choices of one response."""

    response_id: ResponseId


class _Said(_Value):
    source: Label = "api"
    """The judge, as named by the client: ``chat``, ``reviewers``, ``judge:v2``…"""
    idempotency_key: Label | None = None
    """Events of the same key count once; without a key, each counts."""


class Rating(_Said):
    """One to five stars."""

    kind: Literal["rating"]
    target: Answer
    value: Annotated[int, Field(strict=True, ge=1, le=STARS)]


class Binary(_Said):
    """Good (true) or bad."""

    kind: Literal["binary"]
    target: Answer
    value: Annotated[bool, Field(strict=True)]


class Preference(_Said):
    """Which of two answers is better."""

    kind: Literal["preference"]
    target: Pair
    value: Literal["a", "b", "tie", "both_bad"]


class Ranking(_Said):
    """A response's choices, best first; choices left out are not ranked."""

    kind: Literal["ranking"]
    target: Response
    value: Annotated[tuple[Choice, ...], Field(min_length=2, max_length=64)]

    @field_validator("value")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a choice twice")
        return value


class Correction(_Said):
    """The answer as it should have been."""

    kind: Literal["correction"]
    target: Answer
    value: Annotated[str, Field(min_length=1, max_length=MAX_CORRECTION)]


class Comment(_Said):
    """A text about an answer; not used for training."""

    kind: Literal["comment"]
    target: Answer
    value: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT)]


FeedbackInput = Annotated[
    Rating | Binary | Preference | Ranking | Correction | Comment,
    Field(discriminator="kind"),
]
"""One event as a client sends it."""

KINDS: tuple[str, ...] = ("rating", "binary", "preference", "ranking", "correction", "comment")


def answers(said: FeedbackInput) -> tuple[Answer, ...]:
    """The answers that ``said`` is about: of a pair, a before b; of a ranking, the best first."""
    match said:
        case Preference():
            return (said.target.a, said.target.b)
        case Ranking():
            return tuple(Answer(response_id=said.target.response_id, choice=choice) for choice in said.value)
        case _:
            return (said.target,)


def fingerprint(said: FeedbackInput) -> bytes:
    """8 bytes that distinguish a repeated event from a different one with the same key."""
    return blake2b(said.model_dump_json().encode(), digest_size=8).digest()
