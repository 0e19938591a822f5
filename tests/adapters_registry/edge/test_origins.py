"""What may be written for an origin, and what a browser is told."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from adapters_registry.edge.origins import Origin, Origins

ORIGIN = TypeAdapter(Origin)


@pytest.mark.parametrize(
    "text", ["https://console.example", "http://localhost:5173", "http://[::1]:80", "app://x", "*"]
)
def test_an_origin(text: str) -> None:
    assert ORIGIN.validate_python(text) == text


@pytest.mark.parametrize(
    "text", ["", "console.example", "https://", "https://a/", "https://a b", "null", "https://u@h"]
)
def test_none(text: str) -> None:
    with pytest.raises(ValidationError, match="scheme://host"):
        ORIGIN.validate_python(text)


@pytest.mark.parametrize(
    ("listed", "origin", "allowed"),
    [
        (["http://a"], b"http://a", "http://a"),
        (["http://a"], b"http://a:80", None),
        (["http://a"], b"null", None),
        (["*"], b"http://a", "*"),
        (["*", "http://a"], b"http://a", "http://a"),
        ([], b"http://a", None),
    ],
)
def test_who_may_read_the_answer(listed: list[str], origin: bytes, allowed: str | None) -> None:
    assert Origins.of(listed).granted([(b"origin", origin)]).get("access-control-allow-origin") == allowed


def test_a_star_names_nobody() -> None:
    assert not Origins.of(["*"]).names(b"*")
    assert not Origins.of(["*"]).names(b"http://a")
