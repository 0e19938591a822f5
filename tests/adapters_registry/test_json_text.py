"""What a JSON text would cost is judged as its parse turns out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.json_text import DEPTH, NODES, VALUES, may_hold_lone_surrogate, objection

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["[{" * 99, '\\"[', "a\\"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(json_values)
def test_ordinary_texts_pass(value: Any) -> None:
    assert objection(json.dumps(value).encode()) is None


def nested(levels: int, inner: str = "") -> bytes:
    return ("[" * levels + inner + "]" * levels).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[" + b"[]," * (NODES + NODES) + b"[]]", "lists, objects and keys"),
        (b"[" + b"{}," * (NODES + NODES) + b"{}]", "lists, objects and keys"),
        (b"{" + b'"":0,' * (NODES * 5) + b'"":0}', "lists, objects and keys"),
        (b"[" + b"0," * (VALUES + 1) + b"0]", "values"),
        (b"[" + b'"",' * (VALUES * 3) + b'""]', "strings"),
        (nested(DEPTH + 1), "deep"),
        (b'{"a":' * (DEPTH + 1), "deep"),
        (b"[" * (DEPTH + 1), "deep"),
    ],
    ids=["lists", "objects", "keys", "values", "strings", "depth", "objects in objects", "never closed"],
)
def test_what_would_become_too_much_is_refused(text: bytes, why: str) -> None:
    assert why in str(objection(text))


@pytest.mark.parametrize(
    "text",
    [
        nested(DEPTH),
        b"[" + b"[]," * (DEPTH * 2) + b"[]]",
        json.dumps({"code": "[{:,}]" * 100_000}).encode(),
        json.dumps({"code": '\\"[{:,' * 100_000}).encode(),
        json.dumps(["x, " * 40] * 50_000).encode(),
        json.dumps(list(range(100_000))).encode(),
        b'"' + b'\\"' * 100_000,
    ],
    ids=["deep", "flat", "brackets in a string", "escapes", "strings", "token ids", "a string without an end"],
)
def test_what_grows_little_passes(text: bytes) -> None:
    assert objection(text) is None


escapes = st.sampled_from(
    ["\\ud83d", "\\ude00", "\\uD83D\\uDE00", "\\\\", "\\\\ud83d", "\\n", "\\u0041", "d83d", "é", '\\"']
)


@given(st.lists(escapes, max_size=8))
def test_a_lone_surrogate_is_seen_in_the_text(parts: list[str]) -> None:
    text = '{"a": "' + "".join(parts) + '"}'
    value = json.loads(text)["a"]
    alone = any("\ud800" <= char <= "\udfff" for char in value)
    assert may_hold_lone_surrogate(text.encode()) == alone
