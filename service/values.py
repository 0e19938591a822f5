"""Values that are passed between layers and processes: plain and frozen, without tensors or behaviour."""

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
    """The adapter versions of one request, in order. Without any, the base answers.

    At most one at present: engines refuse several, because their combination is not defined yet.
    """

    parts: tuple[AdapterRef, ...] = ()

    @property
    def digest(self) -> str:
        """The identity of the set; "" if it is empty."""
        return joint_digest([part.digest for part in self.parts])

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __iter__(self) -> Iterator[AdapterRef]:
        return iter(self.parts)

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))


NO_ADAPTERS = AdapterSet()


def joint_digest(digests: Sequence[str]) -> str:
    """One digest for several adapters in order: for one adapter its own digest, for none ""."""
    if len(digests) < 2:
        return "".join(digests)
    return "sha256:" + hashlib.sha256("+".join(digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling options of one sequence; names have their meaning in OpenAI's API and vLLM."""

    max_tokens: int
    temperature: float = 1.0
    """Greedy if it is 0, or so low that only the likeliest token would be drawn."""
    top_p: float = 1.0
    top_k: int = 0
    """0: off."""
    min_p: float = 0.0
    seed: int | None = None
    """None: a new seed is drawn at admission. Choice i of a request uses seed + i."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    """None: off. k ≥ 0: log-probabilities of the chosen and the k likeliest tokens, before sampling options."""
    ignore_eos: bool = False
    min_tokens: int = 0
    """No end-of-sequence or stop token is drawn before this many tokens, also with ``ignore_eos``."""
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
    """Seconds from arrival after which the request fails."""
    n: int = 1
    adapters: AdapterSet = NO_ADAPTERS
    """A replica takes leases on them, and passes them to the engine as bound adapters."""


class FinishReason(StrEnum):
    """Why a choice ended; every choice ends exactly once."""

    STOP = "stop"
    """An end-of-sequence token or one of the request's stop tokens (it is not among the event's tokens)."""
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The gateway gets the reason as the error of the request."""


class TokenLogprob(NamedTuple):
    """The chosen token's log-probability (natural logarithm) and the likeliest alternatives."""

    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token id, log-probability), likeliest first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request's error as a value that can be sent to another process (see ``errors.from_failure``)."""

    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


class Event(NamedTuple):
    """The result of one engine step for one choice."""

    request_id: str
    choice: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """Empty, or one per token."""
    finish: FinishReason | None = None
    cached_tokens: int = 0
    """Prompt tokens taken from the prefix cache; set with the first token."""
    stop_token: int | None = None
    """The stop token of the request that ended the choice; None for an end-of-sequence token."""
    failure: Failure | None = None
    """The reason if the engine failed the choice. Not sent with events: the request's call returns it."""


@dataclass(frozen=True, slots=True)
class ServedBase:
    """The base of the replicas, as far as the gateway needs it."""

    name: str
    digest: str
    path: str
    """Local checkpoint directory, from which the gateway reads tokenizer and chat template."""
    context_tokens: int
    vocab_size: int


Generate = Callable[[GenerateRequest], AsyncIterator[list[Event]]]
"""Runs a request: yields its events as they arrive, raises ``QuickchangeError``; closing it cancels the request."""
