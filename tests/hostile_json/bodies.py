"""Bodies that are made to cost much: each shape at any size, in the place of any field, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Shape = Callable[[int], bytes]
"""A JSON value, or something like one, of about so many bytes."""


def _times(item: bytes, size: int, opening: bytes = b"[", closing: bytes = b"]", last: bytes = b"0") -> bytes:
    return opening + item * max(1, size // len(item)) + last + closing


def _numbered(item: str, size: int) -> bytes:
    count = max(1, size // (len(item) + 4))
    return b"{" + b",".join(item.replace("#", f"{i:x}").encode() for i in range(count)) + b"}"


def _key_beside_list(size: int) -> bytes:
    """A long key beside a long list and an escape: each item's path has the key."""
    return b'{"' + b"k" * (size // 2) + b'":[' + b"0," * (size // 4) + b'"\\ud800"]}'


def _messages(message: str, size: int) -> bytes:
    return _times(message.encode() + b",", size, last=message.encode())


SHAPES: Final[Mapping[str, Shape]] = {
    "empty lists": lambda n: _times(b"[],", n),
    "empty objects": lambda n: _times(b"{},", n),
    "small objects": lambda n: _times(b'{"":0},', n),
    "small lists": lambda n: _times(b"[0],", n),
    "spread objects": lambda n: _times(b'{},"123456789",', n),
    "spread lists": lambda n: _times(b'[],"123456789",', n),
    "keys": lambda n: _numbered('"#":0', n),
    "spread keys": lambda n: _numbered('"#":123456789', n),
    "keys of lists": lambda n: _numbered('"#":[[],[]]', n),
    "same key": lambda n: _times(b'"a":0,', n, b"{", b"}", b'"a":0'),
    "ints": lambda n: _times(b"0,", n),
    "other ints": lambda n: _times(b"1234567,", n),
    "long ints": lambda n: _times(b"9" * 4300 + b",", n),
    "one int": lambda n: b"9" * n,
    "floats": lambda n: _times(b"1e1,", n),
    "one float": lambda n: b"0." + b"1" * n,
    "huge exponents": lambda n: _times(b"1e999,", n),
    "nulls": lambda n: _times(b"null,", n),
    "constants": lambda n: _times(b"NaN,", n),
    "empty strings": lambda n: _times(b'"",', n, last=b'""'),
    "short strings": lambda n: _times(b'"ab",', n, last=b'"ab"'),
    "one string": lambda n: b'"' + b"a" * n + b'"',
    "words": lambda n: b'"' + b"z q" * (n // 3) + b'"',
    "one wide string": lambda n: b'"' + b"a" * (n - 4) + "😀".encode() + b'"',
    "wide characters": lambda n: b'"' + "é漢😀".encode() * (n // 9) + b'"',
    "escapes": lambda n: b'"' + b"\\u0001" * (n // 6) + b'"',
    "pairs": lambda n: b'"' + b"\\ud83d\\ude00" * (n // 12) + b'"',
    "lone surrogates": lambda n: b'"' + b"\\ud83d" * (n // 6) + b'"',
    "a lone surrogate behind a list": lambda n: _times(b"0,", n, last=b'"\\udfff"'),
    "a long key beside a list": _key_beside_list,
    "quotes": lambda n: b'"' + b'\\"' * (n // 2),
    "backslashes": lambda n: b'"' + b"\\" * n,
    "deep lists": lambda n: b"[" * (n // 2) + b"]" * (n // 2),
    "deep objects": lambda n: b'{"a":' * (n // 6) + b"0" + b"}" * (n // 6),
    "closers": lambda n: b"[" * 65 + b"]" * n,
    "brackets in a string": lambda n: b'"' + b"{[" * (n // 2) + b'"',
    "blanks": lambda n: b" " * n + b"0",
    "nothing": lambda n: b"\x00" * n,
    "bad utf-8": lambda n: b'"' + b"a" * n + b"\xff" + b'"',
    "wrong messages": lambda n: _messages('{"role":5,"content":{}}', n),
    "messages": lambda n: _messages('{"role":"user","content":"a"}', n),
    "strange messages": lambda n: _messages('{"role":"user","content":"a","b":1}', n),
    "parts": lambda n: b'[{"role":"user","content":' + _messages('{"type":"text","text":"a"}', n) + b"}]",
    "events": lambda n: _messages('{"kind":"rating","target":{"response_id":"a"},"value":9}', n),
    "files": lambda n: _messages('{"path":"a","digest":"b","size":-1}', n),
    "modules": lambda n: _numbered('"#":{"type":"x","in_features":-1,"out_features":"y","bias":3}', n),
    "wrong entries": lambda n: _numbered('"#":"x"', n),
}


@dataclass(frozen=True, slots=True)
class Route:
    """A route that takes JSON, and a body that it would take: its fields as JSON."""

    plane: str
    method: str
    path: str
    fields: Mapping[str, str]

    def body(self, shape: str, size: int, place: str | None) -> bytes:
        """``shape`` in the place of the field ``place``, as a field of its own, or (None) as the whole body."""
        value = SHAPES[shape](size)
        if place is None:
            return value
        others = [f'"{name}":{text}'.encode() for name, text in self.fields.items() if name != place]
        return b"{" + b",".join([*others, b'"' + place.encode() + b'":' + value]) + b"}"


_DIGEST = '"sha256:' + "0" * 64 + '"'
ROUTES: Final = (
    Route(
        "gateway",
        "POST",
        "/v1/chat/completions",
        {"model": '"acme/support"', "messages": '[{"role":"user","content":"a"}]', "max_tokens": "1"}
        | dict.fromkeys(("stop", "logit_bias", "metadata", "stream_options", "chat_template_kwargs"), "null"),
    ),
    Route(
        "gateway",
        "POST",
        "/v1/completions",
        {"model": '"acme/support"', "prompt": '"a"', "max_tokens": "1"}
        | dict.fromkeys(("stop", "stop_token_ids", "truncate_prompt_tokens", "user"), "null"),
    ),
    Route(
        "gateway",
        "POST",
        "/v1/feedback",
        {"kind": '"binary"', "target": '{"response_id":"a"}', "value": "true"},
    ),
    Route("gateway", "POST", "/v1/feedback", {"events": "[]"}),
    Route("registry", "POST", "/v1/keys", {"name": '"a"', "scopes": '["infer"]', "quotas": "{}"}),
    Route("registry", "POST", "/v1/adapters/acme/support/versions", {"files": "[]", "base": "null", "lineage": "{}"}),
    Route("registry", "PUT", "/v1/adapters/acme/support/aliases/production", {"version": "1"}),
    Route(
        "registry",
        "PUT",
        "/v1/adapters/acme/support/versions/1/evaluations/quality",
        {"passed": "true", "metrics": "{}"},
    ),
    Route(
        "registry",
        "PUT",
        "/v1/bases/sha256:" + "0" * 64,
        {
            "digest": _DIGEST,
            "name": '"a"',
            "architecture": '"a"',
            "dtype": '"a"',
            "vocab_size": "1",
            "layers": "1",
            "modules": "{}",
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile request."""

    route: Route
    shape: str
    place: str | None
    body: bytes

    def __str__(self) -> str:
        route, place = self.route, self.place or "the body"
        return f"{route.method} {route.path}: {self.shape} as {place}, {len(self.body)} bytes"


LEAST, MOST = 1 << 10, 2 << 20
"""Bytes."""


def attacks(seed: int, count: int, most: int = MOST) -> Iterator[Attack]:
    """So many, their sizes as often around 2 KiB as around 2 MiB; each is made when its turn comes."""
    draw = random.Random(seed)
    return (_attack(draw, most) for _ in range(count))


def _attack(draw: random.Random, most: int) -> Attack:
    route, shape = draw.choice(ROUTES), draw.choice([*SHAPES])
    place = draw.choice([None, "strange", *route.fields])
    size = round(LEAST * (most / LEAST) ** draw.random())
    return Attack(route, shape, place, route.body(shape, size, place)[:most])
