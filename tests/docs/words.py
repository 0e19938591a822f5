"""Words and turns of phrase that documentation and messages do not use, each with a plainer one.

python -m tests.docs.words README.md docs/*.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PERSON = r"(?:(?:any|every|no|some)(?:body|one)|others|them|you|it|all|none|one)"
_TIME = r"(?:second|minute|hour|day|week|month)"
_UNIT = (
    r"(?:engine step|answer|batch|call|connection|file|gateway|key|kind|layer|line|loss|machine|message|module|moment"
    r"|node|page|process|projection|prompt|replica|request|round|row|run|second|minute|hour|sequence|start|step|stream"
    r"|tenant|token|worker)"
)
_NOUN = (
    r"(?!(?:is|was|has|had|needs|gets|takes|makes|gives|sends|holds|uses|starts|lasts|waits|as|in|of|for|to|with|from"
    r"|on|at|by|per|than|and|or|not|without|this|does|times|after|before)\b)[\w-]+"
)
WORDS: dict[str, str] = {
    r"tell|tells|telling|told": "report, return, notify, log, show",
    r"hear|hears|heard": "receive; last contact with",
    r"of late|lately": "recently",
    r"besides?": "next to, in addition to",
    r"who(?:m|so)?ever": "callers that",
    r"others'|another's": "of other tenants, of another process",
    r"(?:ask|asks|asked|asking) for": "request",
    r"(?:go|goes|going|gone|went) on": "continue",
    rf"(?:let|lets|letting) {_PERSON} in|let in": "accept, admit",
    r"nobody|everybody|somebody|anybody": "no caller, every client, an operator",
    r"of (?:its|their|our|your|his|her) own|of (?:ours|theirs|yours)": "its own X, a separate X",
    r"(?:hold|holds|holding|held) (?:\w+ )?up": "delay, block",
    r"doors?": "authorization check",
    r"house|pantry|wears?|worn": "the term of the field",
    r"books": "accounts",
    r"for ever": "forever",
    r"in spite of": "despite",
    r"(?<=[;,:(] )else(?! if)": "otherwise; default:",
    r"hung up|hangs? up": "disconnect",
    r"takes? up": "continue, load",
    rf"(?:a|an|one|two|three|four|eight|[\d.,]+) {_NOUN} an? {_UNIT}": "one X per Y",
    rf"{_NOUN}(?<=s) an? {_TIME}": "X per second",
}
"""Patterns, matched as whole words in any case, and what to write instead."""

ALLOWED: frozenset[str] = frozenset()
"""Phrases that a pattern matches and that are right, in small letters."""

_PATTERNS = [
    (re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE), better) for words, better in WORDS.items()
]
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_LINK = re.compile(r"(?<=\])\([^()\s]*\)")
_ITEM = re.compile(r"\s*(?:[-*|>]|#+|\d+\.) ?")


class Found(NamedTuple):
    """One use; ``line`` begins the paragraph, item or table row that has it."""

    line: int
    phrase: str
    better: str


def in_page(markdown: str) -> Iterator[Found]:
    """Of a page's prose: without code blocks, inline code and link targets."""
    for line, text in paragraphs(markdown):
        for phrase, better in in_text(_LINK.sub("", _CODE.sub("_", text))):
            yield Found(line, phrase, better)


def in_text(text: str) -> Iterator[tuple[str, str]]:
    """The phrases and what to write instead."""
    text = " ".join(text.split())
    for pattern, better in _PATTERNS:
        for match in pattern.finditer(text):
            if match[0].lower() not in ALLOWED:
                yield match[0], better


def paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """Each paragraph, list item and table row on one line, with the number of its first; no code blocks."""
    first, lines, fenced, code = 0, list[str](), False, False
    for number, line in enumerate([*markdown.split("\n"), ""], 1):
        fence = line.lstrip().startswith("```")
        code = line.startswith("    ") and not lines if line else code
        skipped = fenced or fence or code
        if lines and (skipped or not line.strip() or _ITEM.match(line)):
            yield first, " ".join(lines)
            lines = []
        if line.strip() and not skipped:
            first = first if lines else number
            lines.append(line.strip())
        fenced ^= fence


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for use in in_page(Path(name).read_text()):
            print(f"{name}:{use.line}: {use.phrase!r}: {use.better}")
