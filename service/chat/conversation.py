"""The conversation so far, and how commands change it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple


class Turn(NamedTuple):
    """One message as it is sent to the service."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request."""

    response_id: str
    text: str
    weights: str
    """The version that gave it, as reported by the service: ``acme/support@3``, or the base."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message and its answer."""

    said: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Conversation:
    """Immutable: every change is a new one."""

    system: str | None = None
    exchanges: tuple[Exchange, ...] = ()

    @property
    def last(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else None

    def turns(self, said: str) -> tuple[Turn, ...]:
        """All messages, ``said`` being the last."""
        turns = [Turn("system", self.system)] if self.system else []
        for exchange in self.exchanges:
            turns += [Turn("user", exchange.said), Turn("assistant", exchange.answer.text)]
        return (*turns, Turn("user", said))

    def answered(self, said: str, answer: Answer) -> Conversation:
        return replace(self, exchanges=(*self.exchanges, Exchange(said, answer)))

    def undone(self) -> Conversation:
        """Without the last exchange; the same if there is none."""
        return replace(self, exchanges=self.exchanges[:-1])

    def cleared(self) -> Conversation:
        return replace(self, exchanges=())

    def corrected(self, text: str) -> Conversation:
        """With ``text`` as the last answer; there must be one."""
        said, answer = self.exchanges[-1].said, self.exchanges[-1].answer
        return self.undone().answered(said, replace(answer, text=text))

    def directed(self, system: str) -> Conversation:
        """With another system prompt; an empty one removes it."""
        return replace(self, system=system or None)
