"""Prose of the documentation uses plain words, and the README stays short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.words import in_page, in_text, paragraphs

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/README.md", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README_LINES = 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_plain_words(page: Path) -> None:
    found = [f"{page.name}:{use.line}: {use.phrase!r}; write: {use.better}" for use in in_page(page.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    [
        "The client is told the reason.",
        "A gateway that has never heard from its registry.",
        "An idle process beside each gateway.",
        "It has failed of late.",
        "Whoever holds the key.",
        "A message a token would cost more than the token.",
        "A socket a replica, one message an engine step.",
        "600 requests a minute.",
        "What is another's looks like what does not exist.",
        "What was asked for.",
        "These are all the keys now; those that run go on.",
        "Then it lets nobody in.",
        "Answered however full the house is.",
        "Keep the old one; else it is lost.",
        "A directory of its own.",
        "It takes up what is left.",
    ],
)
def test_the_style_is_caught(sentence: str) -> None:
    assert list(in_text(sentence))


@pytest.mark.parametrize(
    "sentence",
    [
        "The client gets the reason; if it is gone, the reason is only logged.",
        "It sends one request to a replica and waits for a token.",
        "One is a gateway. It has a key, as a client needs one per process.",
        "Another tenant's adapter is used by no one else.",
        "The service is down for a minute, which lasts a second at most.",
    ],
)
def test_right_english_is_not(sentence: str) -> None:
    assert not list(in_text(sentence))


def test_code_and_link_targets_are_no_prose() -> None:
    page = "# It\n\nUse `told` and [this](beside.md):\n\n    told\n\n```\ntold\n```\n\n- told\n  of\n  late\n"
    assert [(use.line, use.phrase) for use in in_page(page)] == [(11, "told"), (11, "of late")]
    assert list(paragraphs("a\nb\n\n| c |\n| d |")) == [(1, "a b"), (4, "| c |"), (5, "| d |")]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
