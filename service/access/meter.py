"""The current use of one gateway by one key or one tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adapters_registry.records import Quotas
from service.access.minute import Minute


class Ledger(Protocol):
    """Stores quota use across restarts."""

    def note(self, name: str, kind: str, at: float, amount: int) -> None: ...
    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        """Times and amounts by name and kind, oldest first."""


class NoLedger:
    """Stores nothing."""

    def note(self, name: str, kind: str, at: float, amount: int) -> None: ...
    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        return {}


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs, known once its prompt is tokenized."""

    prompt_tokens: int
    most_tokens: int
    """Tokens of the prompt, and the most that it may generate."""
    adapter: str | None
    """Digest of the adapter version that it keeps loaded; None: the base."""
    size_bytes: int = 0
    """Size of that version's files."""
    sequences: int = 1
    """Choices of all prompts."""


class Meter:
    """The current use of one key or one tenant."""

    def __init__(self, name: str = "", ledger: Ledger = NoLedger()) -> None:
        self.requests = Minute(lambda at, amount: ledger.note(name, "requests", at, amount))
        self.tokens = Minute(lambda at, amount: ledger.note(name, "tokens", at, amount))
        self.running = 0
        """Running sequences; a request whose prompts are not known yet counts as one."""
        self._pins: dict[str, tuple[int, int]] = {}
        """Digest → (requests that pin it, bytes)."""

    def __repr__(self) -> str:
        return f"<Meter {self.running} running, {self.pinned_bytes} bytes pinned>"

    @property
    def pinned_bytes(self) -> int:
        return sum(size_bytes for _, size_bytes in self._pins.values())

    def more_bytes(self, need: Need) -> int:
        """Bytes that ``need`` would pin in addition."""
        return 0 if need.adapter is None or need.adapter in self._pins else need.size_bytes

    def pin(self, digest: str, size_bytes: int) -> None:
        count, held_bytes = self._pins.get(digest, (0, size_bytes))
        self._pins[digest] = (count + 1, held_bytes)

    def unpin(self, digest: str) -> None:
        count, held_bytes = self._pins.pop(digest)
        if count > 1:
            self._pins[digest] = (count - 1, held_bytes)

    def is_idle(self, now: float) -> bool:
        return not self.running and not self.requests.used(now) and not self.tokens.used(now)


@dataclass(frozen=True, slots=True)
class Account:
    """A meter and its limits."""

    meter: Meter
    part: Quotas
    """Limits of this gateway."""
    whole: Quotas
    """Limits of all gateways together."""
    who: str = "this key"
