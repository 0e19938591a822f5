"""Runs a plan by one native call and samples its tokens."""

from __future__ import annotations

import weakref
from collections.abc import Sequence as Seq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.kernels.adapters import NativeAdapter
from service.engine.kernels.native import CHUNK, SEGMENT, Step
from service.engine.kernels.weights import NativeWeights
from service.engine.plan import Outcome, Plan, Sampled
from service.engine.sampling import not_finite, sample
from service.engine.sequence import Sequence


class NativeRunner:
    """Runs the packed base. Use it from one thread at a time; a step releases the GIL."""

    def __init__(self, weights: NativeWeights, block_tokens: int, threads: int) -> None:
        self.block_tokens = block_tokens
        self.dtype = weights.shape.dtype
        self._weights = weights
        self._library = weights.library
        self._vocabulary = weights.shape.vocabulary
        self._handle = self._library.engine(weights.model, threads)
        self._step = Step()
        self._logits = np.empty((0, self._vocabulary), np.float32)
        self.phase_s: NDArray[np.float64] | None = None
        """[phases], see ``native.PHASES``; if set, each step adds the seconds of its phases."""
        # The finalizer references library and weights, so that they outlive the handle.
        weakref.finalize(self, _free, self._handle, weights)

    def run(self, plan: Plan) -> list[Outcome]:
        rows, sequences, row = [], [], -1
        for chunk in plan.chunks:
            row += chunk.length
            if chunk.samples:
                rows.append(row)
                sequences.append(chunk.sequence)
        drawn = [at for at, sequence in enumerate(sequences) if not _only_likeliest(sequence)]
        greedy = [at for at, sequence in enumerate(sequences) if _only_likeliest(sequence)]
        best, logits = self._compute(plan, [rows[at] for at in greedy], [rows[at] for at in drawn])
        found: dict[int, Outcome] = {
            at: Sampled(token, None) if token >= 0 else not_finite(sequences[at])
            for at, token in zip(greedy, best, strict=True)
        }
        if drawn:
            found.update(zip(drawn, sample(logits, [sequences[at] for at in drawn]), strict=True))
        return [found[at] for at in range(len(sequences))]

    def logits(self, plan: Plan, rows: Seq[int] | None = None) -> Tensor:
        """[rows, vocabulary] float32 of the given rows of the plan; default: rows that give a next token."""
        if rows is None:
            ends = np.cumsum([chunk.length for chunk in plan.chunks])
            rows = [int(end) - 1 for end, chunk in zip(ends, plan.chunks, strict=True) if chunk.samples]
        return self._compute(plan, [], rows)[1].clone()

    def _compute(self, plan: Plan, greedy: Seq[int], drawn: Seq[int]) -> tuple[list[int], Tensor]:
        """The likeliest tokens of ``greedy``, and the logits of ``drawn``, which the next step overwrites.

        A token is -1 if no logit of its row is a number. The last norm makes a row either finite or all NaN.
        """
        tokens, chunks, blocks, segments, low_elements = _rows(plan, self.block_tokens)
        samples = np.array([*greedy, *drawn], np.int32)
        best = np.empty(len(greedy), np.int32)
        if len(drawn) > len(self._logits):
            self._logits = np.empty((len(drawn), self._vocabulary), np.float32)
        step = self._step
        step.rows, step.chunks, step.segments = len(tokens), len(chunks), len(segments)
        step.samples, step.greedy, step.low_elements = len(samples), len(greedy), low_elements
        step.tokens, step.chunk, step.blocks = tokens.ctypes.data, chunks.ctypes.data, blocks.ctypes.data
        step.segment, step.sample_rows = segments.ctypes.data, samples.ctypes.data
        step.best, step.logits = best.ctypes.data, self._logits.ctypes.data
        step.phase_s = None if self.phase_s is None else self.phase_s.ctypes.data
        self._library.step(self._handle, step)
        found: list[int] = best.tolist()
        return found, torch.from_numpy(self._logits[: len(drawn)])


def _rows(
    plan: Plan, block_tokens: int
) -> tuple[NDArray[np.int32], NDArray[np.void], NDArray[np.int32], NDArray[np.void], int]:
    """Tokens, chunks, blocks and segments of a plan in the form of model.h, and the greatest rank."""
    tokens: list[int] = []
    chunks: list[tuple[int, int, int, int]] = []
    blocks: list[int] = []
    segments: list[tuple[int, int, int]] = []
    digest, low_elements = "", 0
    for sequence, start, length in plan.chunks:
        row, stop = len(tokens), start + length
        chunks.append((row, length, start, len(blocks)))
        tokens += sequence.tokens[start:stop]
        blocks += sequence.blocks[: -(-stop // block_tokens)]
        adapter = sequence.adapter
        if adapter is None:
            continue
        assert isinstance(adapter, NativeAdapter)
        if segments and adapter.digest == digest:
            segments[-1] = (segments[-1][0], row + length, segments[-1][2])
        else:
            segments.append((row, row + length, adapter.sites))
            digest, low_elements = adapter.digest, max(low_elements, adapter.low_elements)
    return (
        np.array(tokens, np.int32),
        np.array(chunks, CHUNK),
        np.array(blocks, np.int32),
        np.array(segments, SEGMENT),
        low_elements,
    )


def _only_likeliest(sequence: Sequence) -> bool:
    """Whether the row needs only the token with the greatest logit, and nothing else of its logits."""
    wants = sequence.sampling
    if not sequence.greedy or wants.logprobs is not None or wants.logit_bias:
        return False
    return not sequence.penalised and not sequence.withholding


def _free(handle: int, weights: NativeWeights) -> None:
    weights.library.free(handle)
