"""The records of the feedback log: events, and the responses that they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple
from uuid import uuid4

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from adapters_registry.manifest import Digest, Name
from service.feedback.said import MAX_CHOICES, FeedbackInput, Label, ResponseId
from service.values import FinishReason, SamplingParams, joint_digest

MAX_TEXT = 1 << 22
"""Bound on the characters of a prompt's or an answer's text."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Turn(_Value):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text
    name: Annotated[str, Field(max_length=512)] | None = None


Conversation = Annotated[tuple[Turn, ...], Field(min_length=1)]
Tokens = Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(min_length=1)]
Prompt = Conversation | Text | Tokens
"""A conversation, a text to continue, or such a text as token ids."""


class Adapter(_Value):
    """The adapter version that answered."""

    tenant: Name
    name: Name
    version: int = Field(gt=0)
    digest: Digest


class Given(_Value):
    """One choice of a response, as sent to the client."""

    text: Text
    finish: FinishReason


class ResponseRecord(_Value):
    """One response: its prompts, weights, sampling options and choices."""

    id: ResponseId
    tenant: Name
    """The caller's tenant; only feedback of this tenant finds the record."""
    model: Annotated[str, Field(min_length=1, max_length=1024)]
    adapters: tuple[Adapter, ...]
    """In the request's order; empty: the base. At most one is written in the field ``adapter``, as by earlier
    releases."""
    base_digest: Digest
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    """Each has the same number of choices: choice j of prompt i is choice i × n + j."""
    choices: Annotated[tuple[Given, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    sampling: SamplingParams
    stops: tuple[Annotated[str, Field(max_length=4096)], ...] = ()
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _same_choices_for_each_prompt(self) -> ResponseRecord:
        if len(self.choices) % len(self.prompts):
            raise ValueError("choices: their number is no multiple of the prompts'")
        return self

    @model_validator(mode="before")
    @classmethod
    def _read_one(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "adapter" not in data:
            return data
        one = data["adapter"]
        others = {name: value for name, value in data.items() if name != "adapter"}
        return {"adapters": () if one is None else (one,)} | others

    @model_serializer(mode="wrap")
    def _write_one(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        adapters = written.pop("adapters")
        return written | ({"adapters": adapters} if len(adapters) > 1 else {"adapter": next(iter(adapters), None)})

    @property
    def digest(self) -> str:
        """Digest of the weights that answered: the adapters', or the base's."""
        return joint_digest([adapter.digest for adapter in self.adapters]) or self.base_digest

    def prompt(self, choice: int) -> Prompt:
        """The prompt of ``choice``."""
        return self.prompts[choice * len(self.prompts) // len(self.choices)]


class Author(NamedTuple):
    """Who sends feedback."""

    tenant: str
    principal: str
    """Public id of the caller's key."""


class FeedbackEvent(_Value):
    """One event as stored."""

    id: Annotated[str, Field(pattern=r"^fb-[0-9a-f]{32}$")]
    tenant: Name
    principal: Label
    digests: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=64)]
    """Digests of the weights of each of ``answers(said)``, from the response records."""
    created_at: AwareDatetime
    said: FeedbackInput


class LogEntry(_Value):
    """One line of the feedback log: an event, or, before the first event about it, a response.

    So the feedback log contains all judged responses, and needs no other file; response records are dropped by age.
    """

    response: ResponseRecord | None = None
    event: FeedbackEvent | None = None


ENTRY = TypeAdapter(LogEntry)


def event_of(
    said: FeedbackInput, author: Author, responses: Sequence[ResponseRecord], now: datetime
) -> FeedbackEvent:
    """The event to store for ``said``; ``responses`` are those of ``answers(said)``, in order."""
    return FeedbackEvent(
        id=event_id(author.tenant, said.idempotency_key),
        tenant=author.tenant,
        principal=author.principal,
        digests=tuple(response.digest for response in responses),
        created_at=now,
        said=said,
    )


def event_id(tenant: str, key: str | None) -> str:
    """Derived from tenant and idempotency key, so that an event has the same id whenever it is sent again."""
    if key is None:
        return f"fb-{uuid4().hex}"
    digest = blake2b(tenant.encode(), digest_size=16, person=b"feedback-id")
    digest.update(b"\0" + key.encode())
    return f"fb-{digest.hexdigest()}"
