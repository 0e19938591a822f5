"""One choice of one request, from submission to its end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engine.adapter import BoundAdapter, FrontKeys
from service.engine.seen import Seen
from service.values import GenerateRequest, SamplingParams

LEAST_TEMPERATURE = 1e-5
"""Lower temperatures are greedy. At this one, a logit 0.001 below the greatest has e⁻¹⁰⁰ of its probability."""


class SequenceId(NamedTuple):
    """A request's id, and the index of a choice."""

    request_id: str
    choice: int


@dataclass(slots=True, eq=False)
class Sequence:
    """The tokens so far, and how many positions are in the KV cache.

    ::

        positions  [ front | prompt ............ | generated ... ]    front: rows that the adapter adds
        computed   [ in the KV cache ... )               the rest is pending: one token while decoding
    """

    id: SequenceId
    tenant: str
    adapter: BoundAdapter | None
    sampling: SamplingParams
    seed: int
    tokens: list[int]
    prompt_tokens: int
    queued_at: float | None = None
    """Time of the submission, on the monotonic clock; None once it has had rows."""
    computed: int = 0
    """Positions whose keys and values are in the cache."""
    blocks: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    """Chained hashes of the full blocks hashed so far."""
    published: int = 0
    """Number of blocks published to the prefix cache so far."""
    cached_tokens: int = 0
    """Prompt tokens from the prefix cache at the first admission."""
    ends: frozenset[int] = frozenset()
    """Tokens that end the sequence."""
    withheld: tuple[int, ...] = ()
    """Tokens not drawn before ``min_tokens``: the base's end-of-sequence tokens and the request's stop tokens."""
    front: int = field(init=False, default=0)
    """Rows that the adapter adds in front of the prompt."""
    given: int = field(init=False, default=0)
    """Of them, rows given as keys and values, which are not computed."""
    seen: Seen | None = field(init=False, default=None)
    """Set only for requests with a presence, frequency or repetition penalty."""
    bias: tuple[NDArray[np.int64], NDArray[np.float64]] | None = field(init=False, default=None)
    """Distinct tokens, and the number that is added to the logit of each."""

    def __post_init__(self) -> None:
        if self.adapter is not None and self.adapter.front is not None:
            self.front = self.adapter.front.rows
            self.given = self.front if isinstance(self.adapter.front, FrontKeys) else 0
        if self.penalised:
            self.seen = Seen(self.tokens if self.sampling.repetition_penalty != 1 else ())
        if self.sampling.logit_bias:
            change: dict[int, float] = {}
            for token, value in self.sampling.logit_bias:
                change[token] = change.get(token, 0.0) + value
            self.bias = np.array(list(change), np.int64), np.array(list(change.values()))

    @property
    def digest(self) -> str:
        """The adapter version's digest, or the empty string for the base."""
        return self.adapter.digest if self.adapter is not None else ""

    @property
    def length(self) -> int:
        """Number of positions: those of the front and one per token."""
        return self.front + len(self.tokens)

    @property
    def pending(self) -> int:
        """Positions whose keys and values are not computed yet; at least 1 until the sequence ends."""
        return self.length - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def decoding(self) -> bool:
        return self.generated > 0 and self.pending == 1

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken; below ``LEAST_TEMPERATURE`` no other would be drawn."""
        return self.sampling.temperature < LEAST_TEMPERATURE

    @property
    def penalised(self) -> bool:
        wants = self.sampling
        return wants.presence_penalty != 0 or wants.frequency_penalty != 0 or wants.repetition_penalty != 1

    @property
    def withholding(self) -> bool:
        """Whether the next token must not be one of ``withheld``."""
        return self.generated < self.sampling.min_tokens and bool(self.withheld)

    def tokens_at(self, start: int, stop: int) -> list[int]:
        """The tokens of positions ``start:stop``; 0 for rows of the front."""
        if not self.front:
            return self.tokens[start:stop]
        before = max(0, min(stop, self.front) - start)
        return [0] * before + self.tokens[max(0, start - self.front) : max(0, stop - self.front)]

    def append(self, token: int) -> None:
        self.tokens.append(token)
        if self.seen is not None:
            self.seen.add(token)


def sequences_of(
    request: GenerateRequest, adapter: BoundAdapter | None, eos: frozenset[int] = frozenset()
) -> list[Sequence]:
    """The sequences of the request's ``n`` choices. Choice i uses seed + i; a missing seed is drawn once.

    ``eos``: the base's end-of-sequence tokens.
    """
    stops = frozenset(request.sampling.stop_token_ids)
    seed = request.sampling.seed if request.sampling.seed is not None else secrets.randbits(62)
    return [
        Sequence(
            id=SequenceId(request.request_id, choice),
            tenant=request.tenant,
            adapter=adapter,
            sampling=request.sampling,
            seed=seed + choice,
            tokens=list(request.prompt),
            prompt_tokens=len(request.prompt),
            ends=stops if request.sampling.ignore_eos else eos | stops,
            withheld=tuple(sorted(eos | stops)),
        )
        for choice in range(request.n)
    ]
