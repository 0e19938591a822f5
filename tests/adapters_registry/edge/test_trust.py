"""Which requests may do without a key while there is none: a table of who sends what."""

from __future__ import annotations

import pytest

from adapters_registry.edge.origins import Origins
from adapters_registry.edge.trust import RequestHead, is_loopback_host, keyless_refusal

JSON = frozenset({b"application/json"})
LISTED = Origins.of(["http://localhost:5173", "*"])
LOCAL = {"host": "127.0.0.1:8000"}
BODY = {"content-length": "10", "content-type": "application/json"}


def refusal(method: str, headers: dict[str, str]) -> str | None:
    asked = [(name.encode(), value.encode()) for name, value in headers.items()]
    return keyless_refusal(RequestHead(method, asked), JSON, LISTED)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "127.9.8.7:1", "[::1]", "[::1]:8000", "localhost", "LocalHost:8000",
     "[::ffff:127.0.0.1]:80", "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_this_machine(host: str) -> None:
    assert is_loopback_host(host.encode())
    assert refusal("GET", {"host": host}) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0:8000", "[::]:8000", "10.0.0.1",
     "example@127.0.0.1", "127.0.0.1:80:80", "127.0.0.1 evil", "127.1", "2130706433", "0x7f000001", "localhost.",
     "app.localhost", "::1", "127.0.0.1:", "[::1", "169.254.169.254", "\xff"],
)  # fmt: skip
def test_another_name_or_address(host: str) -> None:
    why = refusal("GET", {"host": host})
    assert why is not None
    assert "keys create" in why


SERVED = {
    "curl": ("GET", LOCAL | {"user-agent": "curl/8", "accept": "*/*"}),
    "openai's client": ("POST", LOCAL | BODY | {"authorization": "Bearer none", "x-stainless-lang": "python"}),
    "with a charset": ("POST", LOCAL | {"content-length": "2", "content-type": "Application/JSON; charset=utf-8"}),
    "chunked JSON": ("POST", LOCAL | {"transfer-encoding": "chunked", "content-type": "application/json"}),
    "no body": ("POST", LOCAL | {"content-length": "0"}),
    "curl -T": ("PUT", LOCAL | {"content-length": "10"}),
    "a mesh's ids": ("GET", LOCAL | {"x-request-id": "1", "traceparent": "x", "x-session-id": "2"}),
    "a listed page": ("POST", LOCAL | BODY | {"origin": "http://localhost:5173", "sec-fetch-site": "same-site"}),
    "a page of its own": (
        "POST",
        LOCAL | BODY | {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
    ),
    "a typed address": ("GET", LOCAL | {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
    "a link": ("GET", LOCAL | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
}
REFUSED = {
    "no host": ("GET", {}, "Host"),
    "a rebound name": ("GET", {"host": "evil.example:8000"}, "evil.example:8000"),
    "a page": ("GET", LOCAL | {"origin": "http://evil.example"}, "http://evil.example"),
    "a page in a frame without origin": ("GET", LOCAL | {"origin": "null"}, "null"),
    "a page of another port": ("GET", LOCAL | {"origin": "http://127.0.0.1:8001"}, "8001"),
    "a page by TLS": ("GET", LOCAL | {"origin": "https://127.0.0.1:8000"}, "https"),
    "a page that any may be": ("GET", LOCAL | {"origin": "*"}, "cors_origins"),
    "an image of a page": ("GET", LOCAL | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "page"),
    "a form": ("POST", LOCAL | {"content-length": "1", "content-type": "text/plain"}, "text/plain"),
    "curl -d": ("POST", LOCAL | {"content-length": "1", "content-type": "application/x-www-form-urlencoded"}, "x-w"),
    "a chunked form": ("POST", LOCAL | {"transfer-encoding": "chunked", "content-type": "text/plain"}, "text/plain"),
    "a body of no type": ("POST", LOCAL | {"content-length": "1"}, "Content-Type"),
    "two types": ("POST", LOCAL | {"content-length": "1", "content-type": "text/plain, application/json"}, "te"),
    "nginx": ("GET", LOCAL | {"x-real-ip": "203.0.113.9"}, "x-real-ip"),
    "most proxies": ("GET", LOCAL | {"x-forwarded-for": "203.0.113.9"}, "x-forwarded-for"),
    "their host": ("GET", LOCAL | {"x-forwarded-host": "api.example"}, "x-forwarded-host"),
    "an unheard-of one": ("GET", LOCAL | {"x-forwarded-whatever": "1"}, "x-forwarded-whatever"),
    "RFC 7239": ("GET", LOCAL | {"forwarded": "for=203.0.113.9"}, "forwarded"),
    "RFC 9110": ("GET", LOCAL | {"via": "1.1 proxy"}, "via"),
    "a content network": ("GET", LOCAL | {"cf-connecting-ip": "203.0.113.9"}, "cf-connecting-ip"),
}  # fmt: skip


@pytest.mark.parametrize("who", SERVED)
def test_served(who: str) -> None:
    assert refusal(*SERVED[who]) is None


@pytest.mark.parametrize("who", REFUSED)
def test_refused_with_what_gave_it_away_and_what_to_do(who: str) -> None:
    method, headers, told = REFUSED[who]
    why = refusal(method, headers)
    assert why is not None
    assert told in why
    assert "quickchange keys create" in why


def test_two_hosts_are_none() -> None:
    head = RequestHead("GET", [(b"host", b"127.0.0.1"), (b"host", b"evil.example")])
    assert "several" in (keyless_refusal(head, JSON, LISTED) or "")


def test_a_stranger_s_bytes_are_shortened() -> None:
    why = refusal("GET", {"host": "a" * 300 + "\r\n\x00é"})
    assert why is not None
    assert len(why) < 500
    assert why.isprintable()
