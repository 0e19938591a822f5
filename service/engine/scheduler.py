"""Who runs next: the waiting and running sequences, planned step by step. No tensor, clock, thread or I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from service.engine.blocks import BlockPool
from service.engine.plan import Chunk, Outcome, Plan, Sampled
from service.engine.prefixes import Prefixes
from service.engine.prompt_shares import prompt_rows
from service.engine.sequence import Sequence
from service.engine.turns import by_right, next_tenant, victim
from service.values import Event, Failure, FinishReason

INPUT_COST = 1
OUTPUT_COST = 2
"""Virtual token costs of fair sharing between tenants (Sheng et al. 2024, "Fairness in serving LLMs")."""


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """What the scheduler may fill."""

    batch_tokens: int
    running: int
    block_tokens: int
    prefix_cache: bool
    eos: frozenset[int]
    base_digest: str
    chunk_tokens: int | None = None
    """Most prompt rows of a step in which sequences decode, so that these do not wait long; None is no such limit."""


class Scheduler:
    """Waiting and running sequences, and the blocks they hold.

    A step takes one row of every decoding sequence, then prompt chunks of those that run, then admits waiting
    ones by tenant: the tenant served least so far (in virtual tokens) goes first. No tenant takes the last rows,
    so that the next one need not wait for the end of its sequences. When blocks run out, the sequence admitted last
    of the tenant that holds most gives its blocks back and waits again; its tokens are computed anew later.
    """

    def __init__(self, limits: SchedulerLimits, pool: BlockPool) -> None:
        self.limits = limits
        self.pool = pool
        self.running: list[Sequence] = []
        self._waiting: dict[str, deque[Sequence]] = {}
        self._served: dict[str, float] = {}
        self._prefixes = Prefixes(pool, limits.block_tokens, limits.base_digest, enabled=limits.prefix_cache)
        self.preemptions = 0

    @property
    def waiting(self) -> int:
        # Read from other threads too: the copy is one step to the interpreter, the dictionary may grow after it.
        return sum(map(len, list(self._waiting.values())))

    def waiting_of(self, tenant: str) -> int:
        """Read from other threads too, like ``waiting``."""
        return len(self._waiting.get(tenant, ()))

    @property
    def waiting_digests(self) -> set[str]:
        """The adapters of what waits. Read from other threads too, like ``waiting``."""
        return {sequence.digest for queue in list(self._waiting.values()) for sequence in list(queue)}

    def add(self, sequence: Sequence) -> None:
        tenant = sequence.tenant
        if not self._active(tenant):
            # A tenant that was away starts level with the least served one: no credit is saved up.
            others = [self._served[t] for t in self._served if self._active(t)]
            self._served = {t: self._served[t] for t in self._served if self._active(t)}
            self._served[tenant] = min(others, default=0.0)
        self._waiting.setdefault(tenant, deque()).append(sequence)

    def plan(self) -> Plan:
        """The next step's rows; blocks for them are held when this returns."""
        chunks: list[Chunk] = []
        running = by_right(self.running)
        budget = self._plan_decoding([s for s in running if s.decoding], chunks)
        prompts = [s for s in running if not s.decoding]
        decoding = {chunk.sequence.tenant for chunk in chunks}
        waiting = self._waiting if len(self.running) < self.limits.running else {}
        rows = prompt_rows(budget, self.limits.chunk_tokens, decoding, prompts, waiting, self._served)
        for sequence in prompts:
            if sequence in self.running:  # it may have been preempted for one before it
                rows[sequence.tenant] -= self._schedule(sequence, rows[sequence.tenant], chunks)
        while len(self.running) < self.limits.running and (admitted := self._admit(rows)) is not None:
            rows[admitted.tenant] -= self._schedule(admitted, rows[admitted.tenant], chunks)
        chunks.sort(key=lambda c: c.sequence.digest)
        return Plan(tuple(chunks))

    def commit(self, plan: Plan, outcomes: Seq[Outcome]) -> list[Event]:
        """Take in what the step computed; ``outcomes`` are in the order of the chunks that sample."""
        events = []
        left = iter(outcomes)
        publish = self._prefixes.publish
        for chunk in plan.chunks:
            sequence = chunk.sequence
            outcome = next(left) if chunk.samples else None
            if isinstance(outcome, Failure):
                events.append(self.fail(sequence, outcome))
                continue
            sequence.computed += chunk.length
            publish(sequence)
            if outcome is not None:
                events.append(self._advance(sequence, outcome))
        return events

    def fail(self, sequence: Sequence, failure: Failure) -> Event:
        """End a running sequence whose rows failed; what it left in its blocks is not used again."""
        self.pool.retract(sequence.blocks)
        self._finish(sequence)
        return Event(*sequence.id, finish=FinishReason.FAILED, failure=failure)

    def end(self, wanted: Iterable[Sequence], reason: FinishReason) -> list[Event]:
        """End sequences before their time; those already over are passed by."""
        events = []
        for sequence in wanted:
            queue = self._waiting.get(sequence.tenant, deque())
            if sequence in self.running:
                self._finish(sequence)
            elif sequence in queue:
                queue.remove(sequence)
            else:
                continue
            events.append(Event(*sequence.id, finish=reason))
        return events

    def alive(self) -> list[Sequence]:
        """Running and waiting."""
        return self.running + [s for queue in self._waiting.values() for s in queue]

    # -- rows and blocks of a step --------------------------------------------------------------------------

    def _active(self, tenant: str) -> bool:
        return bool(self._waiting.get(tenant)) or any(s.tenant == tenant for s in self.running)

    def _plan_decoding(self, sequences: Seq[Sequence], chunks: list[Chunk]) -> int:
        """A row of each decoding sequence; returns how many rows of the step are left."""
        left = self.limits.batch_tokens
        for sequence in sequences:
            if left and sequence in self.running:  # it may have been preempted for one before it
                left -= self._schedule(sequence, left, chunks)
        return left

    def _schedule(self, sequence: Sequence, budget: int, chunks: list[Chunk]) -> int:
        """Give ``sequence`` as many rows as fit; returns how many."""
        length = min(sequence.pending, budget)
        if length <= 0 or not self._hold_blocks(sequence, sequence.computed + length, chunks):
            return 0
        chunks.append(Chunk(sequence, sequence.computed, length))
        return length

    def _hold_blocks(self, sequence: Sequence, tokens: int, chunks: list[Chunk]) -> bool:
        missing = -(-tokens // self.limits.block_tokens) - len(sequence.blocks)
        while missing > self.pool.available:
            giving = victim(self.running, {chunk.sequence for chunk in chunks})
            if giving is None:
                return False
            self._preempt(giving)
            if giving is sequence:
                return False
        if missing > 0:
            sequence.blocks += self.pool.allocate(missing)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self._finish(sequence)
        self.preemptions += 1
        sequence.computed = 0
        self._waiting.setdefault(sequence.tenant, deque()).appendleft(sequence)

    def _admit(self, rows: Mapping[str, int]) -> Sequence | None:
        """The next waiting sequence of a tenant with ``rows`` left, with its cached prefix, if all of it fits."""
        tenant = next_tenant(self.running, self.limits.running, self._waiting, self._served, rows)
        if tenant is None:
            return None
        sequence = self._waiting[tenant][0]
        cached = self._prefixes.find(sequence)
        self.pool.share(cached)
        needed = -(-sequence.length // self.limits.block_tokens) - len(cached)
        if needed > self.pool.available:
            self.pool.release(cached)
            return None
        self._waiting[tenant].popleft()
        if not self._waiting[tenant]:
            del self._waiting[tenant]
        sequence.blocks = cached
        sequence.published = len(cached)
        sequence.computed = max(len(cached) * self.limits.block_tokens, sequence.given)
        if sequence.generated == 0:
            sequence.cached_tokens = max(0, sequence.computed - sequence.front)
            self._served[tenant] += INPUT_COST * sequence.pending
        self.running.append(sequence)
        return sequence

    # -- what was drawn -------------------------------------------------------------------------------------

    def _advance(self, sequence: Sequence, drawn: Sampled) -> Event:
        cached = sequence.cached_tokens if sequence.generated == 0 else 0
        self._served[sequence.tenant] += OUTPUT_COST
        if drawn.token in sequence.ends:
            self._finish(sequence)
            stop = None if self._is_eos(sequence, drawn.token) else drawn.token
            return Event(*sequence.id, finish=FinishReason.STOP, cached_tokens=cached, stop_token=stop)
        sequence.append(drawn.token)
        finish = None
        if sequence.generated >= sequence.sampling.max_tokens:
            self._finish(sequence)
            finish = FinishReason.LENGTH
        logprobs = () if drawn.logprob is None else (drawn.logprob,)
        return Event(*sequence.id, (drawn.token,), logprobs, finish, cached)

    def _is_eos(self, sequence: Sequence, token: int) -> bool:
        return token in self.limits.eos and not sequence.sampling.ignore_eos

    def _finish(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.pool.release(reversed(sequence.blocks))
        sequence.blocks = []
