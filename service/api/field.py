"""What becomes of one request field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Use(StrEnum):
    """What becomes of a field that asks for something."""

    HONOURED = "honoured"
    LABEL = "label"
    """Accepted without a word: by its meaning it changes no answer."""
    HINT = "hint"
    """Ignored and reported: the answer is as good without it."""
    REFUSED = "refused"
    """By name: the answer would be another one."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. null is the same as absent and asks for nothing, whatever the field."""

    known_to: str
    """O(penAI), V(LLM), S(GLang), L(lama.cpp), and Q for one of our own."""
    use: Use
    neutral: tuple[object, ...] = ()
    """Values at which it asks for nothing."""
    instead: str = ""
    """The remedy of a refusal."""

    def asks_for_nothing(self, value: object) -> bool:
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if item is not None}
        # By type too: in Python 1 == True, in JSON it is not.
        return value is None or any(
            value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in self.neutral
        )
