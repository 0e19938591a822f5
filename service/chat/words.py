"""Parses a line of the chat: a message, a command with its words, or a verdict on two answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Better = Literal["a", "b", "tie", "both_bad"]


class Mistake(ValueError):
    """The line is not valid; the message shows what would be."""


class Verb(NamedTuple):
    """A slash command: what follows it, and its line of help."""

    usage: str
    help: str
    words: int = 0
    """Words that must follow."""
    text: Literal["none", "may", "must"] = "none"
    """Whether free text follows them."""


VERBS: dict[str, Verb] = {
    "adapter": Verb("NAME", "Switch to NAME and keep the conversation. Also /model.", words=1),
    "adapters": Verb("", "List the models. Also /models."),
    "compare": Verb(
        "A B [TEXT]",
        "Send both the same message (TEXT, or your last one, or the next one) and choose the better answer.",
        words=2,
        text="may",
    ),
    "good": Verb("", "Rate the last answer as good."),
    "bad": Verb("", "Rate the last answer as bad."),
    "correct": Verb("TEXT", "Record TEXT as the right last answer, and continue with it.", text="must"),
    "undo": Verb("", "Remove the last message and its answer."),
    "clear": Verb("", "Remove the conversation; keep the system prompt."),
    "system": Verb("[TEXT]", "Set the system prompt to TEXT; without TEXT, remove it.", text="may"),
    "help": Verb("", "Show this list. To send a message that begins with a slash, type two."),
    "quit": Verb("", "End the chat. Also Ctrl-D; Ctrl-C stops an answer."),
}
_OTHER_NAMES = {"model": "adapter", "models": "adapters"}

VERDICTS: dict[str, Better | None] = {"a": "a", "b": "b", "t": "tie", "n": "both_bad", "": None}
"""None: no verdict."""
QUESTION = "Which is better? a, b, t (tie), n (both bad), Enter to skip"


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command, its words counted and its text trimmed."""

    verb: str
    words: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to the model."""

    text: str


def parse(line: str) -> Command | Message | None:
    """None is a blank line. Raises ``Mistake``."""
    line = line.strip()
    if not line:
        return None
    if line.startswith("//"):
        return Message(line[1:])
    return _command(line[1:]) if line.startswith("/") else Message(line)


def parse_verdict(line: str) -> Better | None:
    """Raises ``Mistake``."""
    typed = line.strip().lower()
    if typed not in VERDICTS:
        raise Mistake(f"{line.strip()!r} is no verdict; to ask it of both, skip, then /compare A B TEXT. {QUESTION}")
    return VERDICTS[typed]


def _command(line: str) -> Command:
    typed, _, rest = line.partition(" ")
    name = _OTHER_NAMES.get(typed, typed)
    if name not in VERBS:
        raise Mistake(
            f"there is no /{typed}; /help lists the commands (a message that begins with a slash takes two)"
        )
    verb = VERBS[name]
    parts = rest.split(maxsplit=verb.words)
    words, text = tuple(parts[: verb.words]), "".join(parts[verb.words :]).strip()
    if len(words) < verb.words or (text and verb.text == "none") or (not text and verb.text == "must"):
        raise Mistake(f"it is /{name} {verb.usage}".rstrip())
    return Command(name, words, text)
