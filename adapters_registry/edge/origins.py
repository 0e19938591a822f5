"""CORS: the web pages that may send requests, by their origins in the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from adapters_registry.edge.headers import Headers, only, printable

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
MAX_AGE_S = 600
"""How long a browser may cache a preflight's answer; Chromium allows at most 7200."""
EXPOSED = (
    "retry-after, x-should-retry, x-request-id, x-quickchange-request-id, x-adapter, x-adapter-digest, "
    "x-ignored-parameters, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, etag, upload-offset, "
    "upload-complete, upload-length"
)
"""Headers of answers that a page may read."""
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s\"'<>,]+")
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{0,1024}")


def _is_origin(text: str) -> str:
    if text != ANY and _ORIGIN.fullmatch(text) is None:
        raise ValueError("must be scheme://host or scheme://host:port, in lower case and without a path, or *")
    return text


Origin = Annotated[str, AfterValidator(_is_origin)]


@dataclass(frozen=True, slots=True)
class Origins:
    """The configured origins."""

    listed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, listed: Iterable[str]) -> Origins:
        return cls(frozenset(listed))

    def names(self, origin: bytes) -> bool:
        """Whether the origin is listed itself; ``*`` does not match here."""
        return origin.decode("latin-1") in self.listed - {ANY}

    def granted(self, headers: Headers) -> dict[str, str]:
        """CORS headers of every answer for a page that may send requests; empty for others."""
        origin = only(headers, b"origin")
        if origin is None or not (self.names(origin) or ANY in self.listed):
            return {}
        allowed = origin.decode("latin-1") if self.names(origin) else ANY
        return {"access-control-allow-origin": allowed, "access-control-expose-headers": EXPOSED}

    def preflight(self, headers: Headers) -> dict[str, str]:
        """Headers of a preflight's answer in addition to ``granted``. All headers are allowed: the routes check
        them."""
        answer = {"access-control-allow-methods": METHODS, "access-control-max-age": str(MAX_AGE_S)}
        wanted = only(headers, b"access-control-request-headers")
        if wanted and _HEADER_NAMES.fullmatch(wanted):
            answer["access-control-allow-headers"] = wanted.decode()
        if only(headers, b"access-control-request-private-network") == b"true":
            answer["access-control-allow-private-network"] = "true"
        return answer


def is_preflight(method: str, headers: Headers) -> bool:
    """An OPTIONS request that a browser sends before a page's request."""
    asked = tuple(headers)
    return method == "OPTIONS" and all(
        only(asked, name) is not None for name in (b"origin", b"access-control-request-method")
    )


def refusal(headers: Headers) -> str:
    """Why a preflight is refused, for people."""
    origin = printable(only(headers, b"origin") or b"")
    return f"pages of {origin} may not ask here: add the origin to the setting cors_origins"
