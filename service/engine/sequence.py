"""One choice of one request, from submission to its end."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from service.engine.adapter import BoundAdapter
from service.values import GenerateRequest, SamplingParams


class SequenceId(NamedTuple):
    """Which request, and which of its choices."""

    request_id: str
    choice: int


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens so far, and how much of them stands in the KV cache.

    ::

        tokens    [ prompt ............ | generated ... ]
        computed  [ in the KV cache ... )               the rest is pending: one token while decoding
    """

    id: SequenceId
    tenant: str
    adapter: BoundAdapter | None
    sampling: SamplingParams
    seed: int
    tokens: list[int]
    prompt_tokens: int
    queued_at: float | None = None
    """When it was submitted, on the monotonic clock; None once it has had rows."""
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    """Chained hashes of the full blocks hashed so far."""
    published: int = 0
    """Blocks offered to the prefix cache so far."""
    cached_tokens: int = 0
    """Prompt tokens that the prefix cache gave at the first admission."""
    ends: frozenset[int] = frozenset()
    """Drawing one of these ends the sequence."""
    withheld: tuple[int, ...] = ()
    """Not drawn before ``min_tokens``: the base's end-of-sequence tokens, ignored or not, and the request's stops."""
    generated_counts: Counter[int] = field(default_factory=Counter)
    """Kept only for requests with a presence, frequency or repetition penalty."""

    @property
    def digest(self) -> str:
        """The adapter version's digest, or the empty string for the base."""
        return self.adapter.digest if self.adapter is not None else ""

    @property
    def pending(self) -> int:
        """Tokens whose keys and values are still to be computed; at least 1 while alive."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def decoding(self) -> bool:
        return self.generated > 0 and self.pending == 1

    @property
    def penalised(self) -> bool:
        wants = self.sampling
        return wants.presence_penalty != 0 or wants.frequency_penalty != 0 or wants.repetition_penalty != 1

    @property
    def withholding(self) -> bool:
        """Whether the next token may not be one of ``withheld``."""
        return self.generated < self.sampling.min_tokens and bool(self.withheld)

    def append(self, token: int) -> None:
        self.tokens.append(token)
        if self.penalised:
            self.generated_counts[token] += 1


def sequences_of(
    request: GenerateRequest, adapter: BoundAdapter | None, eos: frozenset[int] = frozenset()
) -> list[Sequence]:
    """The request's ``n`` choices; without a seed each request draws one, choice i uses seed + i.

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
