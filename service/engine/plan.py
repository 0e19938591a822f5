"""One step as values: its rows, and the result of each sequence."""

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
    """One step's rows. Chunks of one adapter are adjacent, those of the base are first. May be empty."""

    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        return sum(chunk.length for chunk in self.chunks)


class Sampled(NamedTuple):
    """The token drawn for one chunk that samples."""

    token: int
    logprob: TokenLogprob | None


Outcome = Sampled | Failure
"""The result of a chunk that samples; a row may fail alone."""
