"""What crosses layers and processes: plain frozen values, no tensor, no behaviour."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """One immutable adapter version. The digest is the identity; the rest is for people."""

    tenant: str
    name: str
    version: int
    digest: str
    """``sha256:`` and 64 hex digits: the version's manifest digest."""

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class AdapterSet:
    """The adapter versions that one request wears, in order. With none it is the base that answers.

    Today at most one: what several do together is not defined yet, and engines refuse it.
    """

    parts: tuple[AdapterRef, ...] = ()

    @property
    def digest(self) -> str:
        """The identity of the whole; of none ""."""
        return joint_digest([part.digest for part in self.parts])

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __iter__(self) -> Iterator[AdapterRef]:
        return iter(self.parts)

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))


NO_ADAPTERS = AdapterSet()


def joint_digest(digests: Sequence[str]) -> str:
    """One digest for several adapters in their order: of one its own, of none ""."""
    if len(digests) < 2:
        return "".join(digests)
    return "sha256:" + hashlib.sha256("+".join(digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one sequence's tokens are drawn, in the OpenAI/vLLM meaning of each name."""

    max_tokens: int
    temperature: float = 1.0
    """0, or so little that only the likeliest token would be drawn, is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0
    seed: int | None = None
    """None draws a fresh seed at admission; choice i of a request uses seed + i."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    """None: none. k ≥ 0: the chosen token's and the k likeliest, of the model's own distribution."""
    ignore_eos: bool = False
    min_tokens: int = 0
    """No end-of-sequence or stop token is drawn before so many tokens, also with ``ignore_eos``."""
    stop_token_ids: tuple[int, ...] = ()
    """Drawing one of these ends the choice with ``STOP``, also with ``ignore_eos``."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt under adapter versions fixed at admission; ``n`` choices of it."""

    request_id: str
    tenant: str
    prompt: tuple[int, ...]
    sampling: SamplingParams
    deadline_s: float
    """Seconds from arrival after which the request is given up."""
    n: int = 1
    adapters: AdapterSet = NO_ADAPTERS
    """Whose weights a replica leases; an engine is given them bound."""


class FinishReason(StrEnum):
    """Why a choice ended; every choice ends exactly once."""

    STOP = "stop"
    """An end-of-sequence token or one of the request's stop tokens (it is not among the event's tokens)."""
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Gateways hear the reason as the error of the request."""


class TokenLogprob(NamedTuple):
    """The chosen token's log-probability (natural logarithm) and the likeliest alternatives."""

    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token id, log-probability), likeliest first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request's error as a value, so that it crosses processes whole (see ``errors.from_failure``)."""

    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


class Event(NamedTuple):
    """What one engine step did to one choice."""

    request_id: str
    choice: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """Empty, or one a token."""
    finish: FinishReason | None = None
    cached_tokens: int = 0
    """Prompt tokens taken from the prefix cache; told with the first token."""
    stop_token: int | None = None
    """Which of the request's stop tokens ended the choice; None at an end-of-sequence token."""
    failure: Failure | None = None
    """Why, where the engine failed the choice. Stays in the replica: the request's call gives it to the gateway."""


@dataclass(frozen=True, slots=True)
class ServedBase:
    """What the gateway must know of the base that the replicas hold."""

    name: str
    digest: str
    path: str
    """Local checkpoint directory; tokenizer and chat template are read from it."""
    context_tokens: int
    vocab_size: int


Generate = Callable[[GenerateRequest], AsyncIterator[list[Event]]]
"""Runs a request: yields its events as they come, raises a ``QuickchangeError``; closing it cancels."""
