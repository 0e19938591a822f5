"""Who runs next. Pure: no tensor, clock, thread or I/O.

Longer than other files: every method reads and changes the same queues, and their invariants are of all of them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import NamedTuple

from adapters_registry.edge.shares import fits
from service.engine.blocks import BlockPool, chain_hash, front_hash, root_hash
from service.engine.prompt_shares import beside_rows, shares
from service.engine.sequence import Sequence
from service.values import Event, Failure, FinishReason, TokenLogprob

INPUT_COST = 1
OUTPUT_COST = 2
"""Virtual token costs of fair sharing between tenants (Sheng et al. 2024, "Fairness in serving LLMs")."""
ROW_SHARE = 0.8
"""Of the sequences that may run, for one tenant alone."""


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
        running = self._by_right()
        budget = self._plan_decoding([s for s in running if s.decoding], chunks)
        prompts = [s for s in running if not s.decoding]
        rows = self._prompt_rows(budget, prompts, {chunk.sequence.tenant for chunk in chunks})
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
        for chunk in plan.chunks:
            sequence = chunk.sequence
            outcome = next(left) if chunk.samples else None
            if isinstance(outcome, Failure):
                events.append(self.fail(sequence, outcome))
                continue
            sequence.computed += chunk.length
            self._publish(sequence)
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

    # -- deciding -------------------------------------------------------------------------------------------

    def _active(self, tenant: str) -> bool:
        return bool(self._waiting.get(tenant)) or any(s.tenant == tenant for s in self.running)

    def _by_right(self) -> list[Sequence]:
        """The running sequences as they were admitted, each tenant's oldest before all further ones."""
        oldest: dict[str, Sequence] = {}
        for sequence in self.running:
            oldest.setdefault(sequence.tenant, sequence)
        return [*oldest.values(), *(s for s in self.running if oldest[s.tenant] is not s)]

    def _plan_decoding(self, sequences: Seq[Sequence], chunks: list[Chunk]) -> int:
        """A row of each decoding sequence; returns how many rows of the step are left."""
        left = self.limits.batch_tokens
        for sequence in sequences:
            if left and sequence in self.running:  # it may have been preempted for one before it
                left -= self._schedule(sequence, left, chunks)
        return left

    def _prompt_rows(self, budget: int, prompts: Seq[Sequence], decoding: set[str]) -> dict[str, int]:
        """Most prompt rows of each tenant that wants any; ``decoding`` are the tenants with rows in the step already.

        Tenants whose prompts have begun come first, or they could hold the blocks that all others wait for.
        """
        most = self.limits.chunk_tokens
        if decoding and most is not None:
            budget = min(budget, most)
        wanted = Counter[str]()
        for sequence in prompts:
            wanted[sequence.tenant] += sequence.pending
        begun = set(wanted)
        if len(self.running) < self.limits.running:
            for tenant, queue in self._waiting.items():
                if queue:
                    wanted[tenant] += _pending(queue, budget)
        right = sorted(wanted, key=lambda tenant: (tenant not in begun, self._served[tenant]))
        beside = budget if most is None else beside_rows(most)
        return shares(budget, {t: min(wanted[t], beside) if decoding - {t} else wanted[t] for t in right})

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
            victim = self._victim({chunk.sequence for chunk in chunks})
            if victim is None:
                return False
            self._preempt(victim)
            if victim is sequence:
                return False
        if missing > 0:
            sequence.blocks += self.pool.allocate(missing)
        return True

    def _victim(self, planned: set[Sequence]) -> Sequence | None:
        """Whose blocks to take: the last of the tenant that holds most, as long as each tenant keeps its oldest."""
        held: Counter[str] = Counter()
        further = []
        for sequence in self.running:
            if sequence.tenant in held and sequence not in planned:
                further.append(sequence)
            held[sequence.tenant] += len(sequence.blocks)
        if further:
            return max(reversed(further), key=lambda s: held[s.tenant])
        return next((s for s in reversed(self.running) if s not in planned), None)

    def _preempt(self, sequence: Sequence) -> None:
        self._finish(sequence)
        self.preemptions += 1
        sequence.computed = 0
        self._waiting.setdefault(sequence.tenant, deque()).appendleft(sequence)

    def _admit(self, rows: Mapping[str, int]) -> Sequence | None:
        """The next waiting sequence of a tenant with ``rows`` left, with its cached prefix, if all of it fits."""
        free, held = self.limits.running - len(self.running), Counter(s.tenant for s in self.running)
        able = (t for t, queue in self._waiting.items() if queue and rows.get(t))
        tenants = [t for t in able if fits(free, held[t], share=ROW_SHARE)]
        if not tenants:
            return None
        tenant = min(tenants, key=lambda t: self._served[t])
        sequence = self._waiting[tenant][0]
        cached = self._cached_blocks(sequence)
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

    def _cached_blocks(self, sequence: Sequence) -> list[int]:
        if not self.limits.prefix_cache:
            return []
        # The last token is always computed: its row gives the next one.
        usable = (sequence.length - 1) // self.limits.block_tokens
        self._hash_blocks(sequence, usable)
        return self.pool.match(sequence.block_hashes[:usable])

    # -- bookkeeping ----------------------------------------------------------------------------------------

    def _hash_blocks(self, sequence: Sequence, count: int) -> None:
        size = self.limits.block_tokens
        hashes = sequence.block_hashes
        while len(hashes) < count:
            start = len(hashes) * size
            tokens = sequence.tokens_at(start, start + size)
            hashes.append(chain_hash(self._previous_hash(sequence, start), tokens))

    def _previous_hash(self, sequence: Sequence, start: int) -> bytes:
        """What the hash of the block at position ``start`` is chained to.

        Blocks of nothing but the adapter's own rows hold no tenant's text: all that may use the adapter share them.
        """
        size, base = self.limits.block_tokens, self.limits.base_digest
        own = sequence.front // size * size
        if start == 0 and own:
            return front_hash(sequence.digest, base)
        if start == own:
            return root_hash(sequence.tenant, sequence.digest, base)
        return sequence.block_hashes[-1]

    def _publish(self, sequence: Sequence) -> None:
        if not self.limits.prefix_cache:
            return
        full = sequence.computed // self.limits.block_tokens
        self._hash_blocks(sequence, full)
        for index in range(sequence.published, full):
            self.pool.publish(sequence.blocks[index], sequence.block_hashes[index])
        sequence.published = full

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


def _pending(queue: Iterable[Sequence], enough: int) -> int:
    """Rows of waiting sequences, counted until they are ``enough``."""
    found = 0
    for sequence in queue:
        found += sequence.length - sequence.given
        if found >= enough:
            break
    return found
