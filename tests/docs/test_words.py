"""The documentation, and the texts that programs show, use plain words; the README stays short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.messages import Text, command_help, messages, settings_help
from tests.docs.words import in_page, in_text, paragraphs

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/README.md", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SOURCES = sorted(path for package in ("service", "adapters_registry") for path in (ROOT / package).rglob("*.py"))
SETTINGS = [
    ROOT / name for name in ("service/settings.py", "adapters_registry/settings.py", "service/commands/up.py")
]
SETTINGS.append(ROOT / "adapters_registry/edge/bounds.py")
COMMANDS = sorted((ROOT / "service" / "commands").glob("*.py"))
README_LINES = 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_plain_words(page: Path) -> None:
    found = [f"{page.name}:{use.line}: {use.phrase!r}; write: {use.better}" for use in in_page(page.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("read", "paths"),
    [(messages, SOURCES), (settings_help, SETTINGS), (command_help, COMMANDS)],
    ids=["logged and printed", "help of settings", "help of commands"],
)
def test_programs_show_plain_words(read: Callable[[Path], Iterator[Text]], paths: list[Path]) -> None:
    shown = [(path, text) for path in paths for text in read(path)]
    found = [
        f"{path.relative_to(ROOT)}:{text.line}: {phrase!r}; write: {better}"
        for path, text in shown
        for phrase, better in in_text(text.text)
    ]
    assert len(shown) > len(paths) // 2
    assert not found, "\n".join(found)


def test_what_a_program_shows_is_found_in_its_source(tmp_path: Path) -> None:
    source = tmp_path / "program.py"
    source.write_text(
        'log.info("one")\nprint(f"two {x} three")\nOption(help="four")\nraise E("five")\n'
        'class A:\n    """Six."""\n    b: int = 0\n    """Seven."""\n'
        'def run():\n    """Eight."""\n'
    )
    assert [text.text for text in messages(source)] == ["one", "two _ three", "two ", " three", "four"]
    assert [text.text for text in settings_help(source)] == ["Six.", "Seven."]
    assert [text.text for text in command_help(source)] == ["Eight."]


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
