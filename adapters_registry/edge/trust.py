"""Whether a request without a key certainly comes from a program of this machine.

While no key exists, every client has all rights, and the listener is on loopback. But not only programs of this
machine reach loopback: a page in one of its browsers does so by ``fetch``, or by a name that resolves to 127.0.0.1;
clients of a proxy do so as well. They are recognised by headers that they cannot leave out:

    a page            Origin; Sec-Fetch-Site; and without a preflight only bodies of the three types of a form
    a rebound name    Host
    a proxy           Forwarded, X-Forwarded-*, Via and similar; a proxy that adds none of them is not recognised
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters_registry.edge.headers import Headers, every, only, printable
from adapters_registry.edge.origins import Origins
from adapters_registry.support.loopback import is_loopback

REMEDY = (
    "Without API keys only requests that certainly come from a program on this machine are answered: {why}. "
    "Make a key (`quickchange keys create NAME --all-tenants --scope admin`) and send it with every request{else_}."
)
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")
_PROXIED = frozenset(
    {
        b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-original-host",
        b"x-original-url", b"x-original-forwarded-for", b"x-envoy-external-address", b"x-envoy-internal",
        b"x-proxyuser-ip", b"x-host",
        b"x-azure-clientip", b"x-appengine-user-ip", b"cf-connecting-ip", b"cf-ray", b"true-client-ip",
        b"fastly-client-ip", b"fly-client-ip", b"cdn-loop",
    }
)  # fmt: skip
"""Headers that proxies and content networks add, and that clients do not send themselves."""
_PREFLIGHTED = frozenset({"PUT", "PATCH", "DELETE"})
"""Methods that browsers send to another origin only after a successful preflight."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method and headers of a request, which decide whether it is trusted."""

    method: str
    headers: Headers


def keyless_refusal(head: RequestHead, types: frozenset[bytes], origins: Origins) -> str | None:
    """Why the request must not be answered without a key, with a remedy; None if it may be answered.

    ``types`` are the media types that a body may have.
    """
    headers = tuple(head.headers)
    why = _host(headers) or _origin(headers, origins) or _proxy(headers)
    if why is not None:
        return REMEDY.format(why=why, else_="")
    why = _body(head.method, headers, types)
    return None if why is None else REMEDY.format(why=why, else_=f", or say Content-Type: {min(types).decode()}")


def is_loopback_host(host: bytes) -> bool:
    """Whether a ``Host`` header is 127.0.0.0/8, ::1 or localhost, with any port."""
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1].decode().strip("[]").lower())


def _host(headers: Headers) -> str | None:
    host = only(headers, b"host")
    if host is None:
        return "it has no Host header" if not every(headers, b"host") else "it has several Host headers"
    return (
        None if is_loopback_host(host) else f"its Host is {printable(host)!r} and not 127.0.0.1, [::1] or localhost"
    )


def _origin(headers: Headers, origins: Origins) -> str | None:
    given = every(headers, b"origin")
    host = only(headers, b"host") or b""
    foreign = [origin for origin in given if origin != b"http://" + host and not origins.names(origin)]
    if foreign:
        return f"a web page of {printable(foreign[0])!r} sent it, which the setting cors_origins does not name"
    # Requests for embedded images and scripts have no Origin; a link that a person follows is not sent by a page.
    embedded = only(headers, b"sec-fetch-mode") != b"navigate"
    if not given and embedded and only(headers, b"sec-fetch-site") in (b"cross-site", b"same-site"):
        return "a web page of another origin sent it"
    return None


def _proxy(headers: Headers) -> str | None:
    for name, _ in headers:
        if name in _PROXIED or name.startswith(b"x-forwarded"):
            return f"its header {printable(name)} says that it came through a proxy"
    return None


def _body(method: str, headers: Headers, types: frozenset[bytes]) -> str | None:
    lengths = every(headers, b"content-length")
    if not every(headers, b"transfer-encoding") and all(length.strip(b"0") == b"" for length in lengths):
        return None
    given = every(headers, b"content-type")
    if not given and method in _PREFLIGHTED:
        return None
    if len(given) == 1 and given[0].partition(b";")[0].strip().lower() in types:
        return None
    return (
        f"its body is {printable(given[0])!r} and not application/json" if given else "its body has no Content-Type"
    )
