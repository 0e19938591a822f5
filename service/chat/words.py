"""What a line typed into the chat means: a message, a command with its words, or a verdict on two answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Better = Literal["a", "b", "tie", "both_bad"]


class Mistake(ValueError):
    """The line means nothing; the message says what would."""


class Verb(NamedTuple):
    """A slash command: what follows it, and its line of help."""

    usage: str
    help: str
    words: int = 0
    """Words that must follow."""
    text: Literal["none", "may", "must"] = "none"
    """Whether free text follows them."""


VERBS: dict[str, Verb] = {
    "adapter": Verb("NAME", "NAME answers from now on; the conversation stays. Also /model.", words=1),
    "adapters": Verb("", "List what can answer. Also /models."),
    "compare": Verb(
        "A B [TEXT]",
        "Ask both the same (TEXT, else your last message, else the next one) and say which answer is better.",
        words=2,
        text="may",
    ),
    "good": Verb("", "The last answer was good."),
    "bad": Verb("", "The last answer was bad."),
    "correct": Verb("TEXT", "The last answer should have been TEXT; the conversation goes on with it.", text="must"),
    "undo": Verb("", "Forget the last message and its answer."),
    "clear": Verb("", "Forget the conversation; the system prompt stays."),
    "system": Verb("[TEXT]", "Make TEXT the system prompt; without TEXT there is none.", text="may"),
    "help": Verb("", "This list. A message that begins with a slash is typed with two."),
    "quit": Verb("", "End. So does Ctrl-D; Ctrl-C stops an answer."),
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
    """Something to be answered."""

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
