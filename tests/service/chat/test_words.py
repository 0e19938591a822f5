"""What typed lines mean."""

from __future__ import annotations

import pytest

from service.chat.words import VERBS, Command, Message, Mistake, parse, parse_verdict


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", None),
        ("  \n", None),
        ("hello there\n", Message("hello there")),
        ("a /good question", Message("a /good question")),
        ("//etc/passwd holds what?", Message("/etc/passwd holds what?")),
        ("/adapter acme/support@3", Command("adapter", ("acme/support@3",))),
        ("/model   x ", Command("adapter", ("x",))),
        ("/models", Command("adapters")),
        ("/compare a b", Command("compare", ("a", "b"))),
        ("/compare a  b  Why  so blue? ", Command("compare", ("a", "b"), "Why  so blue?")),
        ("/correct It is  /good.", Command("correct", (), "It is  /good.")),
        ("/system", Command("system")),
        ("/system Be brief.", Command("system", (), "Be brief.")),
        ("/quit", Command("quit")),
    ],
)
def test_lines(line: str, meant: Command | Message | None) -> None:
    assert parse(line) == meant


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/fly", "no /fly"),
        ("/", "no /;"),
        ("/Good", "no /Good"),
        ("/adapter", "/adapter NAME"),
        ("/adapter a b", "/adapter NAME"),
        ("/compare a", "/compare A B"),
        ("/good yes", "it is /good"),
        ("/correct", "/correct TEXT"),
        ("/undo 3", "it is /undo"),
    ],
)
def test_lines_that_mean_nothing(line: str, told: str) -> None:
    with pytest.raises(Mistake, match=told.replace("/", r"\/")):
        parse(line)


@pytest.mark.parametrize("name", VERBS)
def test_every_command_is_typed_as_its_usage_says(name: str) -> None:
    verb = VERBS[name]
    needed = verb.usage.partition("[")[0].split()
    command = parse(" ".join([f"/{name}", *needed]))
    assert isinstance(command, Command)
    assert (command.verb, len(command.words)) == (name, verb.words)


def test_verdicts() -> None:
    typed = ["a", "B", " t\n", "n", "", "\n"]
    assert [parse_verdict(line) for line in typed] == ["a", "b", "tie", "both_bad", None, None]
    with pytest.raises(Mistake, match="'left' is no verdict"):
        parse_verdict("left")
