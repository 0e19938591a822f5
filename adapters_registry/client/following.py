"""For services that follow a registry, without blocking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx

from adapters_registry.errors import UnknownParameter
from adapters_registry.manifest import BaseManifest
from adapters_registry.records import Changes, Snapshot
from adapters_registry.wire import bearer, check, is_local, parse, translated

_SLACK_S = 10.0
"""How much longer than its own wait a long-poll may take."""


class AsyncRegistryClient:
    """Announces a base, and follows changes. Its key needs the scope ``serve``."""

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        """``key`` as for ``RegistryClient``."""
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout_s, trust_env=not is_local(url), headers=bearer(key)
        )
        self._url = url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def put_base(self, base: BaseManifest) -> None:
        """Announce the base that pushes are checked against."""
        path = f"/v1/bases/{base.digest}"
        try:
            await self._send("PUT", path, content=base.model_dump_json())
        except UnknownParameter:  # a registry of the first release refuses unknown fields
            known = base.model_dump_json(exclude={"runs": True, "modules": {"__all__": {"weight"}}})
            await self._send("PUT", path, content=known)

    async def snapshot(self) -> Snapshot:
        return parse(Snapshot, await self._full("/v1/snapshot", {}, {}))

    async def changes(self, since: int, wait_s: float, head: str | None = None) -> Changes:
        """Changes after ``since``; waits up to ``wait_s`` for a change. ``head`` is the value that came with
        ``since``."""
        params = {"since": since, "wait_s": wait_s}
        newer = {} if head is None else {"head": head}
        return parse(Changes, await self._full("/v1/changes", params, newer, timeout=wait_s + _SLACK_S))

    async def _full(
        self, path: str, params: Mapping[str, Any], newer: Mapping[str, Any], **options: Any
    ) -> httpx.Response:
        """The full answer of the registry; from an earlier release, the answer that it supports."""
        try:
            asked = {**params, **newer, "full": True}
            return await self._send("GET", path, params=asked, **options)
        except UnknownParameter:
            return await self._send("GET", path, params=params, **options)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with translated(self._url):
            answer = await self._http.request(method, path, **options)
        check(answer)
        return answer
