"""The engine's step: plan, run, commit. The queues belong to the scheduler, the tensors to the runner."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

from torch import Tensor

from adapters_registry.edge.shares import fits
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.backend import Backend
from service.engine.blocks import BlockPool
from service.engine.kinds import KINDS
from service.engine.plan import Chunk, Plan
from service.engine.scheduler import Scheduler, SchedulerLimits
from service.engine.sequence import Sequence, SequenceId, sequences_of
from service.engine.snapshot import EngineSnapshot
from service.engine.tally import Tally
from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    ContextLengthExceeded,
    InternalError,
    InvalidValue,
    Overloaded,
)
from service.values import Event, Failure, FinishReason, GenerateRequest, SamplingParams

logger = logging.getLogger(__name__)

_TRIAL_TOKENS = 4
_STRIDE = 7919
"""A prime, so that the trial's tokens are spread over the vocabulary."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of one engine."""

    context_tokens: int
    vocab_size: int
    waiting: int
    """Bound on waiting sequences of all tenants; a single tenant may have half of it."""


class Engine:
    """One frozen base; sequences with any adapters advance together, one step at a time.

    Not thread-safe: one thread submits, cancels and steps (see ``loop``). ``check``, ``check_room`` and ``snapshot``
    only read.
    """

    def __init__(
        self,
        backend: Backend,
        limits: EngineLimits,
        scheduling: SchedulerLimits,
        pool: BlockPool,
        *,
        fallback: str | None = None,
    ) -> None:
        """``fallback``: why ``backend`` is not the preferred one, for status reports."""
        self.limits = limits
        self.backend = backend
        self.runner = backend.runner
        self._scheduler = Scheduler(scheduling, pool)
        self._cancelled: list[Event] = []
        self._tally = Tally(backend.name, fallback)

    @property
    def context_tokens(self) -> int:
        return self.limits.context_tokens

    @property
    def block_tokens(self) -> int:
        return self._scheduler.limits.block_tokens

    @property
    def vocab_size(self) -> int:
        return self.limits.vocab_size

    # -- adapters -------------------------------------------------------------------------------------------

    @property
    def layout(self) -> str:
        """Name of the canonical slab form; slabs of other layouts are written again."""
        kinds = "-".join(f"{name}{kind.LAYOUT}" for name, kind in sorted(KINDS.items()))
        return f"{kinds}-{str(self.backend.dtype).removeprefix('torch.')}"

    def check_adapter(self, manifest: Manifest) -> None:
        """Raises ``AdapterIncompatible`` if the backend would not compute it exactly; needs no weights."""
        reason = self.backend.supports(manifest)
        if reason is not None:
            raise AdapterIncompatible(f"adapter {manifest.digest} cannot run here: {reason}")

    def canonicalise(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Converts the artifact's tensors to those of the slab; the adapter must have been checked."""
        kind = KINDS[manifest.kind]
        return kind.canonicalise(manifest, tensors, self.backend.sites.bias, self.backend.dtype)

    def try_adapter(self, adapter: BoundAdapter) -> Failure | None:
        """Runs a step of a few tokens with this adapter alone; returns why it must not join shared batches, or None.

        Its keys and values go to the block after the pool's, which no sequence has. Of the adapter's own rows in
        front, those that fit into this block take part.
        """
        tried = (
            adapter if adapter.front is None else replace(adapter, front=adapter.front.first(self.block_tokens - 1))
        )
        count = min(_TRIAL_TOKENS, self.block_tokens) if adapter.front is None else 1
        tokens = [at * _STRIDE % self.vocab_size for at in range(1, count + 1)]
        sampling = SamplingParams(max_tokens=1, temperature=0)
        trial = Sequence(SequenceId("trial", 0), "", tried, sampling, 0, tokens, len(tokens))
        trial.blocks = [self._scheduler.pool.total]
        try:
            (outcome,) = self.runner.run(Plan((Chunk(trial, trial.given, trial.length - trial.given),)))
        except Exception:  # any exception of a kernel counts as a failure of this adapter
            logger.exception("the trial of an adapter failed", extra={"digest": adapter.digest})
            outcome = _broken(adapter)
        return outcome if isinstance(outcome, Failure) else None

    def bind(self, digest: str, kind: str, tensors: Mapping[str, Tensor]) -> BoundAdapter:
        """An adapter over the slab's tensors. Raises ``AdapterIncompatible`` for unknown sites."""
        tensors = {name: tensor.to(self.backend.device) for name, tensor in tensors.items()}
        return self.backend.place(KINDS[kind].bind(digest, tensors, self.backend.sites.index))

    # -- requests -------------------------------------------------------------------------------------------

    def check(self, request: GenerateRequest, adapter: BoundAdapter | None = None) -> None:
        """Raises ``ContextLengthExceeded`` or ``InvalidValue`` if the request can never run."""
        length = len(request.prompt) + request.sampling.max_tokens
        pool_tokens = self._scheduler.pool.total * self._scheduler.limits.block_tokens
        room = min(self.context_tokens, pool_tokens)
        if adapter is not None and adapter.front is not None:
            room -= adapter.front.rows
        if length > room:
            raise ContextLengthExceeded(
                f"{len(request.prompt)} prompt tokens and {request.sampling.max_tokens} to generate are more "
                f"than the {room} that fit; shorten one of them",
                param="max_tokens",
            )
        self._check_tokens("logit_bias", [token for token, _ in request.sampling.logit_bias])
        self._check_tokens("stop_token_ids", request.sampling.stop_token_ids)
        ends = self._scheduler.limits.eos.union(request.sampling.stop_token_ids)
        if request.sampling.min_tokens and len(ends) >= self.vocab_size:
            raise InvalidValue("min_tokens: every token of the base would end the answer", param="min_tokens")
        if request.sampling.min_tokens > request.sampling.max_tokens:
            raise InvalidValue(
                f"min_tokens is {request.sampling.min_tokens}, more than the {request.sampling.max_tokens} "
                "tokens to generate",
                param="min_tokens",
            )
        if not request.prompt or not all(0 <= token < self.vocab_size for token in request.prompt):
            raise InvalidValue("the prompt is empty or has a token id that the base has not", param="prompt")

    def check_room(self, request: GenerateRequest, queued: Mapping[str, int] | None = None) -> None:
        """Raises ``Overloaded`` if too many sequences wait, of all tenants or of the request's tenant.

        ``queued``: number of admitted sequences that are not enqueued yet, by tenant.
        """
        queued = queued or {}
        waiting = self._scheduler.waiting + sum(queued.values())
        own = self._scheduler.waiting_of(request.tenant) + queued.get(request.tenant, 0)
        if not fits(self.limits.waiting - waiting, own, request.n):
            raise Overloaded(
                f"too many sequences are waiting already, {own} of them this tenant's", retry_after_s=1.0
            )

    def _check_tokens(self, param: str, tokens: Seq[int]) -> None:
        outside = [token for token in tokens if not 0 <= token < self.vocab_size]
        if outside:
            raise InvalidValue(f"{param} names token {outside[0]}, which the base has not", param=param)

    def submit(self, request: GenerateRequest, adapter: BoundAdapter | None) -> None:
        """Check and queue the request; each choice ends with exactly one event whose ``finish`` is set."""
        self.check(request, adapter)
        self.check_room(request)
        self.enqueue(request, adapter, time.monotonic())

    def enqueue(self, request: GenerateRequest, adapter: BoundAdapter | None, submitted_at: float) -> None:
        """Queue the choices of a request that has been checked; ``submitted_at`` is on the monotonic clock."""
        for sequence in sequences_of(request, adapter, self._scheduler.limits.eos):
            sequence.queued_at = submitted_at
            self._scheduler.add(sequence)

    def cancel(self, request_id: str) -> None:
        """Free the request's rows and blocks now; the next step returns the last events of its choices."""
        wanted = [s for s in self._scheduler.alive() if s.id.request_id == request_id]
        self._cancelled += self._scheduler.end(wanted, FinishReason.CANCELLED)

    def has_work(self) -> bool:
        return bool(self._cancelled or self._scheduler.running or self._scheduler.waiting)

    def step(self) -> list[Event]:
        """Advance every planned sequence; returns the events, in no particular order."""
        cancelled, self._cancelled = self._cancelled, []
        began = time.monotonic()
        plan = self._scheduler.plan()
        if not plan.chunks:
            return cancelled
        self._tally.planned(plan)
        failed = self._tally.failed_steps
        events = self._compute(plan)
        if self._tally.failed_steps == failed:
            self._tally.stepped(time.monotonic() - began)
        return cancelled + events

    def _compute(self, plan: Plan) -> list[Event]:
        """Run and commit. A plan that raises is run in halves, so that only sequences that raise alone end."""
        try:
            outcomes = self.runner.run(plan)
        except Exception:  # every request ends once, whatever a step raises
            self._tally.failed_steps += 1
            logger.exception("a step failed", extra={"rows": plan.rows, "sequences": len(plan.chunks)})
            if len(plan.chunks) == 1:
                self._tally.failed_rows += 1
                sequence = plan.chunks[0].sequence
                return [self._scheduler.fail(sequence, _broken(sequence.adapter))]
            half = len(plan.chunks) // 2
            return self._compute(Plan(plan.chunks[:half])) + self._compute(Plan(plan.chunks[half:]))
        self._tally.failed_rows += sum(isinstance(outcome, Failure) for outcome in outcomes)
        return self._scheduler.commit(plan, outcomes)

    def snapshot(self) -> EngineSnapshot:
        """For metrics and status; callable from any thread."""
        return self._tally.snapshot(self._scheduler)


def _broken(adapter: BoundAdapter | None) -> Failure:
    """The failure of a sequence whose rows cannot be computed even alone."""
    if adapter is None:
        return InternalError("A step of the engine failed; the log has the trace.").failure()
    return AdapterFailed("The adapter's rows could not be computed; the log has the trace.").failure()
