"""Requests as bytes: good ones of every route, broken in one or a few places, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.hostile_json.bodies import SHAPES

DIGEST = "sha256:" + "0" * 64
_USER = {"role": "user", "content": "hello"}
_OF = "/v1/adapters/acme/support"
ROUTES: Final[dict[str, Sequence[tuple[str, str, object]]]] = {
    "gateway": [
        (
            "POST",
            "/v1/chat/completions",
            {"model": "acme/support", "messages": [_USER]},
        ),
        (
            "POST",
            "/v1/chat/completions",
            {
                "model": "acme/support",
                "messages": [_USER],
                "stream": True,
                "stream_options": {"include_usage": True},
                "logprobs": True,
                "n": 2,
            },
        ),
        (
            "POST",
            "/v1/completions",
            {"model": "org/Base:1b", "prompt": ["a", "b"], "stop": ["x"], "min_tokens": 1},
        ),
        ("POST", "/v1/completions", {"model": "acme/support@1", "prompt": [5, 6], "logit_bias": {"5": 1}}),
        ("POST", "/v1/feedback", {"kind": "binary", "target": {"response_id": "x"}, "value": True}),
        ("GET", "/v1/feedback?limit=3&after=", None),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/acme/support", None),
        ("GET", "/v1/adapters/residency", None),
        ("GET", "/metrics", None),
        ("GET", "/health", None),
        ("GET", "/ready", None),
        ("GET", "/", None),
    ],
    "registry": [
        ("GET", "/v1/adapters?limit=3", None),
        ("GET", _OF, None),
        ("DELETE", "/v1/adapters/acme/gone", None),
        ("PUT", f"{_OF}/shares/globex", None),
        ("GET", f"{_OF}/aliases/production", None),
        ("PUT", f"{_OF}/aliases/production", {"version": 1}),
        ("POST", f"{_OF}/aliases/production/rollback", None),
        ("PUT", f"{_OF}/aliases/production/protection", {"protected": True}),
        ("POST", f"{_OF}/versions", {"files": [{"path": "adapter_config.json", "digest": DIGEST, "size": 1}]}),
        ("PUT", f"{_OF}/versions/1/evaluations/quality", {"passed": True, "metrics": {"a": 1.5}}),
        ("GET", f"/v1/versions/{DIGEST}", None),
        ("GET", f"/v1/versions/{DIGEST}/lineage", None),
        ("GET", f"/v1/blobs/{DIGEST}", None),
        ("HEAD", f"/v1/uploads/{DIGEST}", None),
        ("PUT", f"/v1/uploads/{DIGEST}", "some bytes"),
        ("PATCH", f"/v1/uploads/{DIGEST}", "some bytes"),
        ("PUT", f"/v1/bases/{DIGEST}", {"digest": DIGEST, "name": "a"}),
        ("GET", "/v1/bases", None),
        ("GET", "/v1/changes?since=0&wait_s=0", None),
        ("GET", "/v1/snapshot", None),
        ("POST", "/v1/keys", {"name": "x", "scopes": ["infer"], "tenant": "acme"}),
        ("GET", "/v1/keys", None),
        ("DELETE", "/v1/keys/aaaaaaaaaaaa", None),
        ("PUT", "/v1/tenants/acme", {"max_versions": 10}),
        ("POST", "/v1/gc", {"dry_run": True}),
        ("GET", "/v1/audit?after=0&limit=3", None),
        ("GET", "/health", None),
        ("GET", "/openapi.json", None),
    ],
}
_METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
    "",
    "A" * 99,
]
_HEADERS = [
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 0x10", "Content-Length: 99999999999999999999",
    "Content-Length: " + "9" * 5000, "Content-Length: \xb2", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, identity", "Content-Encoding: gzip", "Content-Type: text/plain",
    "Content-Type: \xff",
    "Connection: close", "Connection: upgrade\r\nUpgrade: websocket", "Expect: 100-continue", "Host: evil.example",
    "Host: ", "Origin: http://evil.example", "Origin: null", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1",
    "X-Request-Id: a\tb", "X-Session-Id: " + "s" * 900, "serve_multiplexed_model_id: x",
    "X-Request-Timeout-Seconds: 0",
    "X-Serve-Router-A: 1", "traceparent: 00-zz", "Authorization: Bearer x", "Authorization: Basic \xff",
    "If-Match: \xb2", 'If-Match: "' + "9" * 30 + '"', "Upload-Offset: 5", "Upload-Offset: -1", "Upload-Length: 3",
    "Upload-Complete: ?0", "Upload-Complete: ?1", "Upload-Complete: maybe", "Accept: application/openmetrics-text",
    "Accept-Encoding: gzip", "Range: bytes=0-1", "Cookie: a=" + "b" * 3000, "A: " + "a" * 20_000, ": no name",
    "no colon",
    " folded: x", "Nul: \x00", "Long-" + "n" * 500 + ": 1",
]  # fmt: skip
_PATHS: Sequence[Callable[[str], str]] = [
    lambda path: path + "/",
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("acme", "%61cme"),
    lambda path: path.replace("acme", "..%2f.."),
    lambda path: path.replace("acme", "a\xe9\xff"),
    lambda path: path.replace("support", "%00"),
    lambda path: path.replace("v1", "v1/../v1"),
    lambda path: path.replace("1", "9" * 40),
    lambda path: path.replace("0", "\xb2"),
    lambda path: path + "?limit=%FF&after=%00&x=1",
    lambda path: path + "?" + "&".join(f"a{i}=1" for i in range(300)),
    lambda path: "http://evil.example" + path,
    lambda path: "*",
    lambda path: path[:5],
    lambda path: path + "x" * 5000,
]


def request(draw: random.Random, plane: str, key: str) -> bytes:
    """One for ``plane``, or several behind each other on one connection."""
    made = _one(draw, plane, key)
    if draw.random() < 0.05:
        made += _one(draw, plane, key)
    return made


def _one(draw: random.Random, plane: str, key: str) -> bytes:
    method, path, said = draw.choice(ROUTES[plane])
    body = b"" if said is None else said.encode() if isinstance(said, str) else json.dumps(said).encode()
    kind = draw.random()
    if kind < 0.35:
        body = _spoilt_json(draw, said, body)
    elif kind < 0.45:
        method = draw.choice(_METHODS)
    elif kind < 0.60:
        path = draw.choice(_PATHS)(path)
    headers = ["Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if draw.random() < 0.9:
        headers.append(f"Authorization: Bearer {key}")
    if method == "PATCH":
        headers[1:2] = ["Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Complete: ?1"]
    if draw.random() < 0.35:
        headers += draw.choices(_HEADERS, k=draw.choice([1, 1, 2, 5]))
    if draw.random() < 0.1:
        headers.pop(draw.randrange(len(headers)))
    if draw.random() < 0.05:
        headers[2:3] = ["Transfer-Encoding: chunked"]  # one of the first three may be gone
        body = _chunked(draw, body)
    version = draw.choices(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1", ""], [90, 5, 1, 1, 1])[0]
    whole = "\r\n".join([f"{method} {path} {version}", *headers, "", ""]).encode("latin-1", "replace") + body
    return _broken(draw, whole) if draw.random() < 0.15 else whole


def _spoilt_json(draw: random.Random, said: object, body: bytes) -> bytes:
    value: bytes = SHAPES[draw.choice([*SHAPES])](draw.choice([1, 8, 64, 512, 4096]))
    if isinstance(said, dict) and said and draw.random() < 0.7:
        name: str = draw.choice([*said, *_FIELDS])
        rest = json.dumps({key: item for key, item in said.items() if key != name})[1:-1].encode()
        return b"{" + rest + (b"," if rest else b"") + b'"' + name.encode() + b'":' + value + b"}"
    return value if draw.random() < 0.5 else body[: draw.randrange(len(body) + 1)]


_FIELDS = [
    "temperature", "top_p", "top_k", "seed", "n", "stop", "logit_bias", "max_tokens", "stream", "stream_options",
    "metadata",
    "chat_template_kwargs", "truncate_prompt_tokens", "stop_token_ids", "tools", "lineage", "base", "quotas",
    "expires_at",
]  # fmt: skip


def _chunked(draw: random.Random, body: bytes) -> bytes:
    size = draw.choice([f"{len(body):x}", "0", "-1", "ffffffffffffffff", "x", f"{len(body):x};a=b", "1"])
    return size.encode() + b"\r\n" + body + b"\r\n" + draw.choice([b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"", b"0"])


def _broken(draw: random.Random, whole: bytes) -> bytes:
    """Bytes lost, doubled, changed or put in."""
    spoilt = bytearray(whole)
    for _ in range(draw.choice([1, 1, 3, 20])):
        at = draw.randrange(len(spoilt)) if spoilt else 0
        match draw.randrange(4):
            case 0:
                del spoilt[at : at + draw.choice([1, 10, 1000])]
            case 1:
                spoilt[at:at] = bytes(draw.randbytes(draw.choice([1, 4, 64])))
            case 2:
                spoilt[at : at + 1] = bytes([draw.randrange(256)])
            case _:
                spoilt[at:at] = spoilt[at : at + 50]
    return bytes(spoilt)
