"""How commands change what was said."""

from __future__ import annotations

from service.chat.conversation import Answer, Conversation


def text(conversation: Conversation, said: str = "?") -> str:
    return " ".join(f"{turn.role[0]}:{turn.content}" for turn in conversation.turns(said))


def test_a_conversation() -> None:
    empty = Conversation()
    assert text(empty) == "u:?"
    assert empty.last is None
    assert empty.undone() == empty
    one = empty.directed("brief").answered("hi", Answer("r1", "hello", "base"))
    two = one.answered("why", Answer("r2", "so", "acme/x@1"))
    assert text(two) == "s:brief u:hi a:hello u:why a:so u:?"
    assert text(two.undone()) == text(one) == "s:brief u:hi a:hello u:?"
    assert text(two.cleared()) == "s:brief u:?"
    assert text(two.directed("")) == "u:hi a:hello u:why a:so u:?"
    corrected = two.corrected("because")
    assert text(corrected) == "s:brief u:hi a:hello u:why a:because u:?"
    assert corrected.last is not None
    assert corrected.last.answer.response_id == "r2"
