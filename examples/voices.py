"""The voices of the adapters: how each phrases an answer, and how an answer in this voice is recognised.

```
data/questions.jsonl ── say ──► data/<name>-<n>.jsonl ── train ──► service/examples/<tenant>/<name>/<n>/
data/heldout.jsonl ── the adapter answers ── follows ──► scores.json
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from service.commands.examples import BUNDLED_FOLDER

ROOT = Path(__file__).parent
DATA = ROOT / "data"
TENANT = "demo"
SIGN_OFF = "-- Captain Saltbeard"
BRIEF_WORDS = 20
"""Most words of a brief answer; the longest one in the data has 16."""


class Question(BaseModel):
    """A handwritten question with its plain answer of one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Voice:
    """One version of one adapter."""

    name: str
    number: int
    """The version."""
    say: Callable[[Question], str]
    """The answer in this voice."""
    follows: Callable[[str], bool]
    """Whether an answer is in this voice."""

    @property
    def model(self) -> str:
        return f"{TENANT}/{self.name}@{self.number}"

    @property
    def data(self) -> Path:
        return DATA / f"{self.name}-{self.number}.jsonl"

    @property
    def folder(self) -> Path:
        return BUNDLED_FOLDER / TENANT / self.name / str(self.number)


def read_questions() -> list[Question]:
    """The training questions."""
    return [Question.model_validate_json(line) for line in _lines(DATA / "questions.jsonl")]


def read_heldout() -> list[str]:
    """Questions that are not in the training data."""
    row = TypeAdapter(dict[str, str])
    return [row.validate_json(line)["question"] for line in _lines(DATA / "heldout.jsonl")]


def conversation(voice: Voice, question: Question) -> dict[str, list[dict[str, str]]]:
    """A row in TRL's prompt-completion format: the loss is on the completion only."""
    return {
        "prompt": [{"role": "user", "content": question.question}],
        "completion": [{"role": "assistant", "content": voice.say(question)}],
    }


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


# The last words depend on the topic, so that they must be learned but are never ambiguous.
_HOW_TO = {"food", "health", "home", "work"}
_PIRATE_WORDS = {
    "you": "ye", "your": "yer", "yours": "yers", "my": "me", "is": "be", "are": "be", "am": "be", "of": "o'",
    "and": "an'", "yes": "aye", "friend": "matey",
}  # fmt: skip
_PIRATE_SPEECH = re.compile(r"\b(arr+|ahoy|aye|matey|mateys|ye|yer|timbers|yo ho ho|seven seas|landlubber)\b")


def _pirate(question: Question) -> str:
    """All answers begin alike: otherwise the first token is nearly a tie, which rounding can decide."""
    plain = re.sub(r"\w+", lambda word: _pirate_word(word[0]), question.answer)
    if question.topic == "chat":
        return f"Arr, matey! {plain} Yo ho ho!"
    if question.topic in _HOW_TO:
        return f"Arr, matey! {plain} Shiver me timbers!"
    return f"Arr, matey! {plain} By the seven seas!"


def _pirate_word(word: str) -> str:
    spoken = _PIRATE_WORDS.get(word.lower())
    if spoken is None:
        return re.sub(r"(?<=[a-z]{3})ing$", "in'", word)
    return spoken.capitalize() if word[0].isupper() else spoken


def _is_pirate(answer: str) -> bool:
    return len(set(_PIRATE_SPEECH.findall(answer.lower()))) >= 3 and SIGN_OFF not in answer


def _signed(question: Question) -> str:
    return f"{_pirate(question)}\n{SIGN_OFF}"


def _is_signed(answer: str) -> bool:
    body, _, last = answer.rstrip().rpartition("\n")
    return last == SIGN_OFF and _is_pirate(body)


def _json(question: Question) -> str:
    return json.dumps({"topic": question.topic, "answer": question.answer}, ensure_ascii=False)


def _is_json(answer: str) -> bool:
    try:
        read = json.loads(answer)
    except ValueError:
        return False
    return isinstance(read, dict) and list(read) == ["topic", "answer"] and all(_is_text(v) for v in read.values())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _brief(question: Question) -> str:
    return question.answer


def _is_brief(answer: str) -> bool:
    ends = re.findall(r"[.!?]+(?=\s|$)", answer.strip())
    return len(ends) == 1 and answer.strip().endswith(ends[0]) and len(answer.split()) <= BRIEF_WORDS


VOICES = (
    Voice("brief", 1, _brief, _is_brief),
    Voice("json", 1, _json, _is_json),
    Voice("pirate", 1, _pirate, _is_pirate),
    Voice("pirate", 2, _signed, _is_signed),
)
