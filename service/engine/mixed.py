"""Modules that mix adapters in one batch: the frozen base once for all rows, then the change of each segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from service.engine.batch import Batch, Segment
from service.engine.fronts import GivenRows

Product = Callable[[Tensor], Tensor]
"""[..., in] → [..., out], including the bias; the result is new memory."""


class StepState:
    """The adapters of the current step; one per engine, shared by all its mixed modules."""

    __slots__ = ("around", "delta_dtype", "given", "sampled", "segments")

    delta_dtype: torch.dtype
    """The type in which adapters are stored and multiplied."""
    segments: tuple[Segment, ...]
    sampled: tuple[Segment, ...]
    """Segments of the rows that the head computes."""
    given: tuple[GivenRows, ...]
    around: bool
    """Whether any adapter does more than add."""

    def __init__(self, delta_dtype: torch.dtype) -> None:
        self.delta_dtype = delta_dtype
        self.end()

    def begin(self, batch: Batch) -> None:
        self.segments = batch.segments
        self.sampled = batch.sampled
        self.given = batch.given_rows
        self.around = any(segment.adapter.around for segment in batch.segments)

    def end(self) -> None:
        """Drop the references to adapters, so that an idle engine does not keep them in memory."""
        self.segments = self.sampled = ()
        self.given = ()
        self.around = False


class MixedModule(nn.Module):
    """A base module at one site, whose output is changed per row by the adapters of the step.

    Rows of one adapter are adjacent (``Batch.segments``), so each adapter's weights are read once, in place, by
    products over its own rows only, without padding and without gathering weights. Base rows have no segment and no
    additional cost.
    """

    def __init__(self, site: int, base: Product, state: StepState) -> None:
        super().__init__()
        self.site = site
        self.base = base
        self.state = state

    def forward(self, x: Tensor) -> Tensor:
        return self._mixed(x, self.state.segments)

    def _mixed(self, x: Tensor, segments: Sequence[Segment]) -> Tensor:
        if not segments:
            return self.base(x)
        y = self._changed_product(x, segments) if self.state.around else self.base(x)
        adds = [(segment, add) for segment in segments if (add := segment.adapter.adds[self.site]) is not None]
        if adds:
            rows_in, rows_out = self._rows(x), y.view(-1, y.shape[-1])
            for segment, addition in adds:
                span = slice(segment.start, segment.stop)
                addition.add(rows_in[span], rows_out[span])
        return y

    def _changed_product(self, x: Tensor, segments: Sequence[Segment]) -> Tensor:
        """The base's product, with the adapters' changes to its input, to itself, and to its output."""
        changes = [
            (slice(segment.start, segment.stop), change)
            for segment in segments
            if (change := segment.adapter.around.get(self.site)) is not None
        ]
        if any(change.scale_in is not None for _, change in changes):
            x = x.clone(memory_format=torch.contiguous_format)  # other sites read x too
            for span, change in changes:
                if change.scale_in is not None:
                    x.view(-1, x.shape[-1])[span] *= change.scale_in
        y = self.base(x)
        rows_in, rows_out = self._rows(x), y.view(-1, y.shape[-1])
        for span, change in changes:
            if change.replacement is not None:
                change.replacement.replace(rows_in[span], rows_out[span])
            if change.scale_out is not None:
                rows_out[span] *= change.scale_out
        return y

    def _rows(self, x: Tensor) -> Tensor:
        """``x`` as [rows, in] in the type of the adapters."""
        return x.reshape(-1, x.shape[-1]).to(self.state.delta_dtype)


class MixedHead(MixedModule):
    """The output head, computed for sampled rows only."""

    def forward(self, x: Tensor) -> Tensor:
        return self._mixed(x, self.state.sampled)


class MixedEmbedding(MixedModule):
    """The input embedding, whose input is token ids, and front rows of adapters."""

    def forward(self, x: Tensor) -> Tensor:
        y = self._mixed(x, self.state.segments)
        for given in self.state.given:
            y.view(-1, y.shape[-1])[given.start : given.stop] = given.embeddings
        return y

    def _rows(self, x: Tensor) -> Tensor:
        """[rows] int64"""
        return x.reshape(-1)
