"""Adapters' files by HTTP: pushed, continued after an interruption, and fetched as a whole or not at all."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import httpx
from pydantic import JsonValue

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.client.connection import Connection, at
from adapters_registry.errors import (
    DigestMismatch,
    OffsetMismatch,
    Overloaded,
    RegistryError,
    RegistryUnavailable,
    StorageFailed,
    TruncatedUpload,
    UploadTimeout,
)
from adapters_registry.folder import CONFIG, PIECE_BYTES, WEIGHTS, check_folder, describe, pieces, trained_on
from adapters_registry.manifest import File, Manifest
from adapters_registry.records import Published
from adapters_registry.wire import check, parse, translated

_CHECKING_S = 600.0
"""Bound on the time of a commit, in which the registry reads every value of the adapter."""
_TRIES = 5
"""Bound on attempts in a row in which the registry received no further byte."""
_FIRST_PAUSE_S = 0.1
_PASSING = (RegistryUnavailable, Overloaded, StorageFailed, UploadTimeout, TruncatedUpload, OffsetMismatch)
"""Errors after which an upload continues where the registry says."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """Result of a push."""

    published: Published
    ignored: tuple[str, ...]
    """Entries of the folder that are no part of an adapter and were not uploaded."""
    trained_on: str | None
    """The config's ``base_model_name_or_path``: the base that it was checked against, if one has that name."""


@dataclass(frozen=True, slots=True)
class UploadState:
    """How far an upload is."""

    size: int
    """Bytes stored."""
    complete: bool


class _Bounded(BytesIO):
    """Accepts as many bytes as were announced: a server that sends more must not fill the memory."""

    def __init__(self, digest: str, size: int) -> None:
        super().__init__()
        self._digest = digest
        self._left = size

    def write(self, piece: bytes) -> int:  # type: ignore[override]  # called with bytes only
        self._left -= len(piece)
        if self._left < 0:
            raise DigestMismatch(f"The registry sent more than the bytes of {self._digest}.", param="digest")
        return super().write(piece)


class FileCalls(Connection):
    """Calls that transfer bytes by digest."""

    def push(
        self,
        directory: Path,
        tenant: str,
        name: str,
        *,
        base: str | None = None,
        promote: bool = False,
        lineage: Mapping[str, JsonValue] | None = None,
        allowed: Allowances = NOTHING,
        progress: Progress = lambda done, total: None,
    ) -> Pushed:
        """Upload the files of the PEFT folder ``directory`` that the registry lacks, then make them a version.

        An interrupted upload, of this push or an earlier one, is continued.
        """
        ignored = check_folder(directory)
        files = [describe(directory / path) for path in (CONFIG, WEIGHTS)]
        total, done = sum(file.size for file in files), 0
        for file in files:
            self.upload(directory / file.path, file, tenant, partial(_report, progress, done, total))
            done += file.size
            progress(done, total)
        body = {
            "files": [file.model_dump() for file in files],
            "base": base,
            "promote": promote,
            "lineage": dict(lineage or {}),
            **_allowed_fields(allowed),
        }
        answer = self._send("POST", f"{at(tenant, name)}/versions", json=body, timeout=_CHECKING_S)
        return Pushed(parse(Published, answer), ignored, trained_on(directory / CONFIG))

    def upload(
        self, path: Path, file: File, tenant: str, progress: Callable[[int], None] = lambda done: None
    ) -> None:
        """Upload those bytes of ``path``, which ``file`` describes, that the registry does not have for ``tenant``
        yet."""
        state = self.upload_state(file.digest, tenant)
        tries, best = 0, 0
        while state is None or not state.complete:
            there = 0 if state is None else state.size
            tries, best = (0, there) if there > best else (tries + 1, best)
            try:
                self._upload_from(there, path, file, tenant, progress)
                return
            except _PASSING as error:
                if tries >= _TRIES:
                    raise
                state = self._after(error, file.digest, tenant, tries)

    def upload_state(self, digest: str, tenant: str) -> UploadState | None:
        """None if no bytes are stored."""
        with translated(self.url):
            answer = self._http.head(f"/v1/uploads/{digest}", params={"tenant": tenant})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        check(answer)
        return UploadState(int(answer.headers["upload-offset"]), answer.headers["upload-complete"] == "?1")

    def discard_upload(self, digest: str, tenant: str) -> None:
        """Discard the bytes of an interrupted upload."""
        self._send("DELETE", f"/v1/uploads/{digest}", params={"tenant": tenant})

    def pull(self, manifest: Manifest, directory: Path, *, progress: Progress = lambda done, total: None) -> None:
        """Writes the version's files into ``directory``, checked, as they were pushed. On an error nothing is
        written.

        Raises ``FileExistsError`` unless ``directory`` is empty or missing.
        """
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise FileExistsError(f"{directory} is there already and is not an empty folder: give another one.")
        # Next to it, so that the rename is one step; with the caller's default mode, unlike tempfile's.
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

    def read_blob(self, digest: str, size: int) -> bytes:
        """The blob's bytes, checked. Raises ``DigestMismatch`` if they differ, or are more than ``size``."""
        data = _Bounded(digest, size)
        self._copy(digest, data)
        return data.getvalue()

    def _copy(self, digest: str, file: BinaryIO, progress: Callable[[int], None] = lambda done: None) -> None:
        """Copies the blob into ``file`` in chunks. Raises ``DigestMismatch`` if the bytes differ."""
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

    def _after(self, error: RegistryError, digest: str, tenant: str, tries: int) -> UploadState | None:
        """Where to continue after a failed attempt, once the registry answers again."""
        for attempt in range(tries, _TRIES):
            time.sleep(max(_FIRST_PAUSE_S * 2**attempt, error.retry_after_s or 0.0))
            try:
                return self.upload_state(digest, tenant)
            except _PASSING as again:
                error = again
        raise error

    def _upload_from(self, there: int, path: Path, file: File, tenant: str, progress: Callable[[int], None]) -> None:
        """Upload the bytes after the first ``there``."""
        headers = {"content-length": str(file.size - there), "upload-length": str(file.size), "upload-complete": "?1"}
        if there:
            headers |= {"content-type": "application/partial-upload", "upload-offset": str(there)}
        else:
            headers |= {"content-type": "application/octet-stream"}
        with path.open("rb") as source:
            source.seek(there)
            content = pieces(source, file.size - there, lambda sent: progress(there + sent))
            self._send(
                "PATCH" if there else "PUT",
                f"/v1/uploads/{file.digest}",
                params={"tenant": tenant},
                content=content,
                headers=headers,
            )


def _allowed_fields(allowed: Allowances) -> dict[str, JsonValue]:
    """Only what is allowed: a registry of an earlier release refuses unknown fields."""
    fields: dict[str, JsonValue] = {
        "ignore_fields": list(allowed.ignore_fields),
        "allow_partial": allowed.partial,
        "allow_no_effect": allowed.no_effect,
    }
    return {name: value for name, value in fields.items() if value}


def _report(progress: Progress, before: int, total: int, sent: int) -> None:
    progress(before + sent, total)
