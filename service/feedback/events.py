"""What people say of answers, and what was answered: the values that the feedback log keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from adapters_registry.manifest import Digest, Name
from service.values import FinishReason, SamplingParams

MAX_CHOICES = 1024
MAX_TEXT = 1 << 22
"""Characters of a prompt's or an answer's text."""
MAX_CORRECTION = 1 << 18
MAX_COMMENT = 1 << 14
STARS = 5

Label = Annotated[str, Field(min_length=1, max_length=128)]
ResponseId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,159}$")]
Choice = Annotated[int, Field(strict=True, ge=0, lt=MAX_CHOICES)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# -- what a client says ---------------------------------------------------------------------------------------


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
    """Who or what judged, in the client's own words: ``chat``, ``reviewers``, ``judge:v2``…"""
    idempotency_key: Label | None = None
    """An event sent again under the same key counts once; None counts each time."""


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
    """Which of two answers is the better one."""

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
    """Words on an answer; not used for training."""

    kind: Literal["comment"]
    target: Answer
    value: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT)]


FeedbackInput = Annotated[
    Rating | Binary | Preference | Ranking | Correction | Comment,
    Field(discriminator="kind"),
]
"""What a client may say. What was asked and answered, and by which weights, is never taken from it."""

KINDS: tuple[str, ...] = ("rating", "binary", "preference", "ranking", "correction", "comment")


def answers(said: FeedbackInput) -> tuple[Answer, ...]:
    """The answers that ``said`` speaks of; a pair's a before b, a ranking's best first."""
    match said:
        case Preference():
            return (said.target.a, said.target.b)
        case Ranking():
            return tuple(Answer(response_id=said.target.response_id, choice=choice) for choice in said.value)
        case _:
            return (said.target,)


def fingerprint(said: FeedbackInput) -> bytes:
    """8 bytes by which an event sent again is told from another one under the same key."""
    return blake2b(said.model_dump_json().encode(), digest_size=8).digest()


# -- what was answered ----------------------------------------------------------------------------------------


class Turn(_Value):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text
    name: Label | None = None


Conversation = Annotated[tuple[Turn, ...], Field(min_length=1)]
Tokens = Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(min_length=1)]
Prompt = Conversation | Text | Tokens
"""A conversation, a text to go on with, or such a text as token ids."""


class Adapter(_Value):
    """The adapter version that answered."""

    tenant: Name
    name: Name
    version: int = Field(gt=0)
    digest: Digest


class Said(_Value):
    """One choice of a response, as the client got it."""

    text: Text
    finish: FinishReason


class ResponseRecord(_Value):
    """One response: what was asked, of which weights, how it was sampled and what came."""

    id: ResponseId
    tenant: Name
    """Of the caller: only the same tenant's feedback finds it."""
    model: Annotated[str, Field(min_length=1, max_length=1024)]
    adapter: Adapter | None
    """None is the base itself."""
    base_digest: Digest
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    """Each has the same number of choices: choice j of prompt i is choice i × n + j."""
    choices: Annotated[tuple[Said, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    sampling: SamplingParams
    stops: tuple[Annotated[str, Field(max_length=4096)], ...] = ()
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _same_choices_for_each_prompt(self) -> ResponseRecord:
        if len(self.choices) % len(self.prompts):
            raise ValueError("choices: their number is no multiple of the prompts'")
        return self

    @property
    def digest(self) -> str:
        """Of the weights that answered: the adapter's, else the base's."""
        return self.adapter.digest if self.adapter else self.base_digest

    def prompt(self, choice: int) -> Prompt:
        """What ``choice`` answers."""
        return self.prompts[choice * len(self.prompts) // len(self.choices)]


# -- what is kept ---------------------------------------------------------------------------------------------


class Author(NamedTuple):
    """Who sends feedback."""

    tenant: str
    principal: str
    """The caller's key by its public id."""


class FeedbackEvent(_Value):
    """One event as the log keeps it."""

    id: Annotated[str, Field(pattern=r"^fb-[0-9a-f]{32}$")]
    tenant: Name
    principal: Label
    digests: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=64)]
    """Of the weights behind each of ``answers(said)``, from the response records."""
    created_at: AwareDatetime
    said: FeedbackInput


class LogEntry(_Value):
    """One line of the feedback log: a response before the first event that speaks of it, or an event.

    So the feedback log needs no other file: response records are dropped by age, those that were judged are kept.
    """

    response: ResponseRecord | None = None
    event: FeedbackEvent | None = None


ENTRY = TypeAdapter(LogEntry)


def event_of(
    said: FeedbackInput, author: Author, responses: Sequence[ResponseRecord], now: datetime
) -> FeedbackEvent:
    """``said`` as it is kept; ``responses`` are those of ``answers(said)``, in their order."""
    return FeedbackEvent(
        id=event_id(author.tenant, said.idempotency_key),
        tenant=author.tenant,
        principal=author.principal,
        digests=tuple(response.digest for response in responses),
        created_at=now,
        said=said,
    )


def event_id(tenant: str, key: str | None) -> str:
    """Made of tenant and idempotency key, so that it is the same however late an event is sent again."""
    if key is None:
        return f"fb-{uuid4().hex}"
    digest = blake2b(tenant.encode(), digest_size=16, person=b"feedback-id")
    digest.update(b"\0" + key.encode())
    return f"fb-{digest.hexdigest()}"
