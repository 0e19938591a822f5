"""The registry from Python: ``RegistryClient`` for operators and loaders, ``AsyncRegistryClient`` to follow it.

Both raise ``RegistryError``: ``RegistryUnavailable`` if nothing answers, else the error that the registry named.
Errors of the caller's own disk pass through as ``OSError``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import httpx
from pydantic import JsonValue, TypeAdapter

from adapters_registry.errors import DigestMismatch
from adapters_registry.folder import CONFIG, PIECE_BYTES, WEIGHTS, check_folder, describe, pieces, trained_on
from adapters_registry.manifest import BaseManifest, File, Manifest
from adapters_registry.records import (
    AdapterPage,
    AdapterRecord,
    AliasRecord,
    BaseRecord,
    Changes,
    Published,
    Snapshot,
    VersionDetail,
)
from adapters_registry.wire import bearer, check, is_loopback, parse, translated

_CHECKING_S = 600.0
"""How long a commit may take: the registry reads every value of the adapter."""
_SLACK_S = 10.0
"""What a long-poll may take beyond its own wait."""

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    published: Published
    ignored: tuple[str, ...]
    """Entries of the folder that are no part of an adapter and stayed behind."""
    trained_on: str | None
    """The config's ``base_model_name_or_path``: advice only, digest and shapes decide."""


class RegistryClient:
    """Blocking and thread-safe."""

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        """``key`` is the text of an API key; a registry without keys wants none."""
        self._http = httpx.Client(
            base_url=url, timeout=timeout_s, trust_env=not is_loopback(url), headers=bearer(key)
        )
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def push(
        self,
        directory: Path,
        tenant: str,
        name: str,
        *,
        base: str | None = None,
        promote: bool = False,
        lineage: Mapping[str, JsonValue] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Pushed:
        """Upload what the registry lacks of the PEFT folder ``directory``, then make it a version."""
        ignored = check_folder(directory)
        files = [describe(directory / path) for path in (CONFIG, WEIGHTS)]
        total, done = sum(file.size for file in files), 0
        for file in files:
            if not self._has(file.digest):
                self._upload(directory / file.path, file, partial(_report, progress, done, total))
            done += file.size
            progress(done, total)
        body = {
            "files": [file.model_dump() for file in files],
            "base": base,
            "promote": promote,
            "lineage": dict(lineage or {}),
        }
        answer = self._send("POST", f"{_at(tenant, name)}/versions", json=body, timeout=_CHECKING_S)
        return Pushed(parse(Published, answer), ignored, trained_on(directory / CONFIG))

    def adapters(self, tenant: str | None = None) -> Iterator[AdapterRecord]:
        """All, by tenant and name, page by page."""
        after: str | None = None
        while True:
            params = {key: value for key, value in (("tenant", tenant), ("after", after)) if value is not None}
            page = parse(AdapterPage, self._send("GET", "/v1/adapters", params=params))
            yield from page.adapters
            after = page.next
            if after is None:
                return

    def adapter(self, tenant: str, name: str) -> AdapterRecord:
        return parse(AdapterRecord, self._send("GET", _at(tenant, name)))

    def version(self, digest: str) -> VersionDetail:
        return parse(VersionDetail, self._send("GET", f"/v1/versions/{digest}"))

    def bases(self) -> tuple[BaseRecord, ...]:
        """Last announced first."""
        answer = self._send("GET", "/v1/bases").json()
        return TypeAdapter(tuple[BaseRecord, ...]).validate_python(answer["bases"])

    def put_base(self, base: BaseManifest) -> None:
        self._send("PUT", f"/v1/bases/{base.digest}", content=base.model_dump_json())

    def promote(self, tenant: str, name: str, version: int | str, alias: str = "production") -> AliasRecord:
        """Move ``alias`` to ``version`` (number or digest) from wherever it points now."""
        aliases = self.adapter(tenant, name).aliases
        generation = next((a.generation for a in aliases if a.alias == alias), 0)
        headers = {"If-Match": f'"{generation}"'}
        path = f"{_at(tenant, name)}/aliases/{alias}"
        return parse(AliasRecord, self._send("PUT", path, json={"version": version}, headers=headers))

    def rollback(self, tenant: str, name: str, alias: str = "production") -> AliasRecord:
        return parse(AliasRecord, self._send("POST", f"{_at(tenant, name)}/aliases/{alias}/rollback"))

    def delete_alias(self, tenant: str, name: str, alias: str) -> None:
        self._send("DELETE", f"{_at(tenant, name)}/aliases/{alias}")

    def delete_version(self, tenant: str, name: str, number: int) -> None:
        self._send("DELETE", f"{_at(tenant, name)}/versions/{number}")

    def delete_adapter(self, tenant: str, name: str) -> None:
        self._send("DELETE", _at(tenant, name))

    def pull(self, manifest: Manifest, directory: Path, *, progress: Progress = lambda done, total: None) -> None:
        """The version's files in ``directory``, checked, as they were pushed; or an error, and nothing there.

        Raises ``FileExistsError`` unless ``directory`` is empty or missing.
        """
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise FileExistsError(f"{directory} is there already and is not an empty folder: give another one.")
        # Beside it, so that the rename is one step; of the caller's own mode, unlike tempfile's.
        directory = directory.resolve()
        part = directory.parent / f".{directory.name}.{secrets.token_hex(4)}.tmp"
        part.mkdir(parents=True)
        total, done = sum(file.size for file in manifest.files), 0
        try:
            for file in manifest.files:
                with (part / file.path).open("xb") as to:
                    self._copy(file.digest, to, partial(_report, progress, done, total))
                done += file.size
            part.rename(directory)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def fetch_blob(self, digest: str, to: Path) -> None:
        """The blob at ``to``, whole, checked and on the disk; or an error and nothing at ``to``."""
        handle, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.", suffix=".tmp")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                self._copy(digest, file)
                file.flush()
                os.fsync(file.fileno())
            part.rename(to)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        directory = os.open(to.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _copy(self, digest: str, file: BinaryIO, progress: Callable[[int], None] = lambda done: None) -> None:
        """The blob's bytes into ``file``, piece by piece. Raises ``DigestMismatch`` if they are others."""
        hashed, done = hashlib.sha256(), 0
        with translated(self.url), self._http.stream("GET", f"/v1/blobs/{digest}") as answer:
            if answer.is_error:
                answer.read()
            check(answer)
            for piece in answer.iter_raw(PIECE_BYTES):
                hashed.update(piece)
                file.write(piece)
                done += len(piece)
                progress(done)
        found = f"sha256:{hashed.hexdigest()}"
        if found != digest:
            raise DigestMismatch(f"The registry sent {found} for {digest}.", param="digest")

    def _has(self, digest: str) -> bool:
        with translated(self.url):
            answer = self._http.head(f"/v1/uploads/{digest}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        check(answer)
        return True

    def _upload(self, path: Path, file: File, progress: Callable[[int], None]) -> None:
        headers = {"content-length": str(file.size), "content-type": "application/octet-stream"}
        with path.open("rb") as source:
            self._send(
                "PUT", f"/v1/uploads/{file.digest}", content=pieces(source, file.size, progress), headers=headers
            )

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with translated(self.url):
            answer = self._http.request(method, path, **options)
        check(answer)
        return answer


class AsyncRegistryClient:
    """For services that follow a registry and fetch from it."""

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        """``key`` as for ``RegistryClient``."""
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout_s, trust_env=not is_loopback(url), headers=bearer(key)
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
        await self._send("PUT", f"/v1/bases/{base.digest}", content=base.model_dump_json())

    async def snapshot(self) -> Snapshot:
        return parse(Snapshot, await self._send("GET", "/v1/snapshot"))

    async def changes(self, since: int, wait_s: float) -> Changes:
        """What changed after ``since``; waits up to ``wait_s`` for something to change."""
        params = {"since": since, "wait_s": wait_s}
        return parse(Changes, await self._send("GET", "/v1/changes", params=params, timeout=wait_s + _SLACK_S))

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with translated(self._url):
            answer = await self._http.request(method, path, **options)
        check(answer)
        return answer


def _at(tenant: str, name: str) -> str:
    return f"/v1/adapters/{tenant}/{name}"


def _report(progress: Progress, before: int, total: int, sent: int) -> None:
    progress(before + sent, total)
