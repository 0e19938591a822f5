"""The HTTP connection of blocking calls to one registry."""

from __future__ import annotations

from typing import Any, Self

import httpx

from adapters_registry.wire import bearer, check, is_local, translated


class Connection:
    """Thread-safe."""

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        """``key`` is the text of an API key; a registry without keys needs none."""
        self._http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=not is_local(url), headers=bearer(key))
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with translated(self.url):
            answer = self._http.request(method, path, **options)
        check(answer)
        return answer


def at(tenant: str, name: str) -> str:
    """An adapter's path."""
    return f"/v1/adapters/{tenant}/{name}"


def given(**params: Any) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in params.items() if value is not None}


def if_match(generation: int | None) -> dict[str, str]:
    return {} if generation is None else {"If-Match": f'"{generation}"'}
