"""One step as values: the rows that run in it, and what each sequence got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.engine.sequence import Sequence
from service.values import Failure, TokenLogprob


class Chunk(NamedTuple):
    """Rows of one sequence in one step: its positions ``start : start + length``."""

    sequence: Sequence
    start: int
    length: int

    @property
    def samples(self) -> bool:
        """Whether the chunk reaches the sequence's end, so that its last row gives the next token."""
        return self.start + self.length == self.sequence.length


@dataclass(frozen=True, slots=True)
class Plan:
    """One step's rows; chunks of one adapter are neighbours, the base's first. May be empty."""

    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        return sum(chunk.length for chunk in self.chunks)


class Sampled(NamedTuple):
    """The token drawn for one chunk that samples."""

    token: int
    logprob: TokenLogprob | None


Outcome = Sampled | Failure
"""What a chunk that samples gave: a row may fail alone."""
