"""Blobs in a bucket of an S3 server, through obstore.

    s3://<bucket>/<prefix>/sha256/<2 hex>/<64 hex>    as in a directory, so that one can be copied to the other

Keys, region and endpoint come from the usual AWS_* variables. A small blob is put in one request, on condition that
no object has its name (If-None-Match). A large one is put in parts, without a condition, since obstore cannot send
one when S3 completes the parts: two simultaneous writers put the same bytes one after the other, as the name is their
digest. Parts left by a killed process are invisible but use space: a lifecycle rule of the bucket should abort them.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from adapters_registry.blobs.disk import translated
from adapters_registry.blobs.store import BLOB_NAME, StoredBlob
from adapters_registry.errors import (
    BlobNotFound,
    DigestMismatch,
    InvalidValue,
    RegistryError,
    StorageFailed,
    StorageFull,
)
from adapters_registry.wire import is_local

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES = 8 << 20
"""Larger blobs are put in parts of this size; a put holds at most ``_PARTS`` of them in memory."""
_PARTS = 2
_READ_BYTES = 4 << 20
"""Bytes per ranged request of a reader."""
_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3}[\w ]*)")
_FULL = re.compile(r"status code: 507|<Code>(QuotaExceeded|InsufficientCapacity|\w*StorageFull)</Code>")


class BucketBlobs:
    """Blobs under a prefix of a bucket, which several processes may share."""

    def __init__(self, url: str) -> None:
        """``url`` is s3://bucket/prefix. Raises ``StorageFailed`` unless the bucket can be listed."""
        parts = urlsplit(url)
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
        client: ClientConfig = {"timeout": timedelta(seconds=60)}
        if _is_plain_here(endpoint):
            client["allow_http"] = True
        with _translated():
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                endpoint=endpoint,
                client_options=client,
                retry_config=_RETRY,
            )
            next(iter(self._store.list(chunk_size=1)), None)

    def put(self, staged: Path, digest: str, size: int) -> bool:
        there = self.size(digest)
        if there == size:
            return False
        with translated(), staged.open("rb") as file, _translated():
            if there is None and size <= PART_BYTES:
                new = self._create(digest, file.read())
            else:  # also if stored in another size: it was damaged, and is replaced as a whole
                self._store.put(
                    _key(digest),
                    _checked(file, digest, size),
                    use_multipart=size > PART_BYTES,
                    chunk_size=PART_BYTES,
                    max_concurrency=_PARTS,
                )
                new = True
        found = self.size(digest)
        if found != size:
            raise StorageFailed(
                f"The bucket holds {found} bytes of {digest} instead of {size}: repeat the request.", retry_after_s=5
            )
        return new

    def size(self, digest: str) -> int | None:
        try:
            with _translated(digest):
                return self._store.head(_key(digest))["size"]
        except BlobNotFound:
            return None

    def settle(self, digest: str) -> int:
        size = self.size(digest)
        if size is None:
            raise _missing(digest)
        return size

    def open(self, digest: str) -> BinaryIO:
        return io.BufferedReader(_Object(self._store, digest, self.settle(digest)), _READ_BYTES)

    def delete(self, digest: str) -> None:
        with _translated():
            self._store.delete(_key(digest))

    def stored(self) -> Iterator[StoredBlob]:
        with _translated():
            for page in self._store.list("sha256"):
                for entry in page:
                    name = entry["path"].rpartition("/")[2]
                    if BLOB_NAME.fullmatch(name):
                        yield StoredBlob(f"sha256:{name}", entry["size"], entry["last_modified"].timestamp())

    def _create(self, digest: str, data: bytes) -> bool:
        _check(hashlib.sha256(data), digest)
        try:
            self._store.put(_key(digest), data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True


class _Object(io.RawIOBase):
    """A blob of a bucket, read by ranged requests."""

    def __init__(self, store: S3Store, digest: str, size: int) -> None:
        self._store = store
        self._digest = digest
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        with _translated(self._digest):
            piece = memoryview(self._store.get_range(_key(self._digest), start=self._at, length=length))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Python's default would request 8 KiB at a time."""
        return b"".join(iter(lambda: self.read(_READ_BYTES) or b"", b""))


def _checked(file: BinaryIO, digest: str, size: int) -> Iterator[bytes]:
    """The file in chunks; raises before the last chunk unless the bytes match ``digest``, so that the put fails."""
    hashed, left = hashlib.sha256(), size
    while piece := file.read(min(left, PART_BYTES)):
        hashed.update(piece)
        left -= len(piece)
        if not left:
            _check(hashed, digest)
        yield piece
    if left:
        raise DigestMismatch(f"The staged file of {digest} ended {left} bytes early: send it again.", param="digest")


def _check(hashed: hashlib._Hash, digest: str) -> None:
    found = f"sha256:{hashed.hexdigest()}"
    if found != digest:
        raise DigestMismatch(f"The staged bytes are {found}, not {digest}: send the file again.", param="digest")


def _is_plain_here(endpoint: str | None) -> bool:
    """Whether the endpoint is unencrypted and on loopback; for others ``InvalidValue`` unless AWS_ALLOW_HTTP is
    set."""
    if endpoint is None or not endpoint.startswith("http://"):
        return False
    if is_local(endpoint):
        return True
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("1", "true"):
        raise InvalidValue(
            f"The S3 endpoint {endpoint} would be reached without encryption: use https, or set AWS_ALLOW_HTTP=true.",
            param="AWS_ENDPOINT_URL",
        )
    return True


def _key(digest: str) -> str:
    hexadecimal = digest.removeprefix("sha256:")
    return f"sha256/{hexadecimal[:2]}/{hexadecimal}"


@contextmanager
def _translated(wanted: str | None = None) -> Iterator[None]:
    """Translates the bucket's errors to the registry's; not found means the blob ``wanted``, or without it the
    bucket."""
    try:
        yield
    except (BaseError, OSError) as error:
        if wanted is not None and isinstance(error, FileNotFoundError):
            raise _missing(wanted) from None
        raise _failure(error) from error


def _failure(error: Exception) -> RegistryError:
    text = str(error)  # the log gets all of it, with the address; the client gets the server's code
    code = _CODE.search(text) or _STATUS.search(text)
    why = code[1] if code else "no answer"
    if _FULL.search(text):
        return StorageFull(f"The registry's bucket is full ({why}): free space, then repeat.", retry_after_s=30)
    return StorageFailed(f"The registry's bucket failed ({why}): see its log, then repeat.", retry_after_s=5)


def _missing(digest: str) -> BlobNotFound:
    return BlobNotFound(f"No blob {digest}: upload it first.", param=digest)
