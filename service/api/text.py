"""The visible text of one choice: it ends at stop strings, and a possible beginning of one is held back."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.api.vocabulary import Detokenizer, Vocabulary
from service.values import Event, FinishReason, TokenLogprob


@dataclass(frozen=True, slots=True)
class Showing:
    """Options for the visible text of a choice."""

    stops: tuple[str, ...] = ()
    """Stop strings; the text ends where one is complete."""
    with_stop: bool = False
    """Include the stop string, or the stop token's text, that ended it."""
    special: bool = False
    """Include the text of special tokens."""


class StopMatcher:
    """Finds the stop string that is complete first, independent of how the text is split into pieces."""

    def __init__(self, stops: tuple[str, ...], with_stop: bool = False) -> None:
        """``with_stop``: the text is cut after the stop string and not before it."""
        self._stops = stops
        self._with_stop = with_stop
        self._held = ""
        """The longest end of the text so far that is the beginning of a stop string."""
        self.matched = False

    def push(self, text: str) -> str:
        """Text that can no longer be part of a stop string; empty after a match."""
        if self.matched or not text:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        cut = self._first(text)
        if cut is not None:
            self.matched, self._held = True, ""
            return text[:cut]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text that was held back; call it at the end."""
        held, self._held = self._held, ""
        return held

    def _first(self, text: str) -> int | None:
        # The stop string that ends first; of several that end there, the longest.
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        return min(found)[0 if self._with_stop else 1] if found else None


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a proper beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token with its log-probability and the offset of its text in the choice's text, in characters."""

    token: int
    logprob: TokenLogprob
    offset: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The new visible part of one choice."""

    index: int
    text: str
    logprobs: tuple[ShownToken, ...]
    finish: str | None


@dataclass
class Choice:
    """One choice from its first event to its last. Events after its end are ignored."""

    index: int
    vocabulary: Vocabulary
    showing: Showing
    detokenizer: Detokenizer
    stops: StopMatcher
    tokens: int = 0
    """Number of tokens, up to and including the one that completed a stop string."""
    cached_tokens: int = 0
    finish: str | None = None
    _decoded: int = 0
    _released: int = 0
    _text: list[str] = field(default_factory=list)
    """All visible pieces."""
    _taken: int = 0
    """Number of pieces that ``take`` has returned."""
    _logprobs: list[ShownToken] = field(default_factory=list)

    @classmethod
    def begin(cls, index: int, vocabulary: Vocabulary, showing: Showing) -> Choice:
        detokenizer = vocabulary.detokenizer(special=showing.special)
        return cls(index, vocabulary, showing, detokenizer, StopMatcher(showing.stops, showing.with_stop))

    def push(self, event: Event) -> None:
        """Process one event; new visible text is returned by ``take``."""
        if self.finish is not None:
            return
        self.cached_tokens = max(self.cached_tokens, event.cached_tokens)
        for i, token in enumerate(event.tokens):
            self.tokens += 1
            if event.logprobs:
                self._logprobs.append(ShownToken(token, event.logprobs[i], self._decoded))
            self._show(self.detokenizer.push(token))
            if self.stops.matched:
                self.finish = FinishReason.STOP
                return
        if event.finish in (FinishReason.STOP, FinishReason.LENGTH):
            self._show(self.detokenizer.flush())
            if self.showing.with_stop and event.stop_token is not None:
                self._show(self.vocabulary.spelling(event.stop_token).decode("utf-8", "replace"))
            self.finish = FinishReason.STOP if self.stops.matched else event.finish
            self._release(self.stops.flush())

    def take(self) -> Delta | None:
        """The visible part since the last call; None if there is none."""
        logprobs = self._visible_logprobs()
        if self._taken == len(self._text) and not logprobs and self.finish is None:
            return None
        text = "".join(self._text[self._taken :])
        self._taken = len(self._text)
        return Delta(self.index, text, logprobs, self.finish)

    @property
    def text(self) -> str:
        """All visible text so far."""
        return "".join(self._text)

    def _show(self, text: str) -> None:
        self._decoded += len(text)
        self._release(self.stops.push(text))

    def _release(self, text: str) -> None:
        if text:
            self._released += len(text)
            self._text.append(text)

    def _visible_logprobs(self) -> tuple[ShownToken, ...]:
        """Tokens whose text begins within the visible text; all, if the choice ended without a stop string."""
        if self.finish is not None and not self.stops.matched:
            count = len(self._logprobs)
        else:
            count = sum(one.offset < self._released for one in self._logprobs)
        visible = tuple(self._logprobs[:count])
        del self._logprobs[:count]
        return visible
