"""The source of adapter versions: the registry, by digest only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from adapters_registry.errors import (
    DigestMismatch,
    RegistryError,
    RegistryUnavailable,
    VersionDeleted,
    VersionNotFound,
)
from adapters_registry.manifest import File, Manifest
from service.errors import AdapterFailed, ModelNotFound

if TYPE_CHECKING:
    from adapters_registry.client import RegistryClient


class AdapterSource(Protocol):
    """Blocking and thread-safe: loaders call it from their threads. Raises ``AdapterFailed``, ``ModelNotFound``."""

    def manifest(self, digest: str) -> Manifest:
        """The manifest whose digest this is."""

    def fetch(self, file: File) -> bytes:
        """The file's bytes."""


class RegistrySource:
    """Fetches over HTTP. One client is shared by all loader threads (httpx's is thread-safe)."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    def manifest(self, digest: str) -> Manifest:
        with _translated(digest):
            return self._client.version(digest).manifest

    def fetch(self, file: File) -> bytes:
        with _translated(file.digest):
            return self._client.read_blob(file.digest, file.size)


@contextmanager
def _translated(digest: str) -> Iterator[None]:
    """Translates the registry's errors within the block."""
    try:
        yield
    except (VersionNotFound, VersionDeleted) as error:
        raise ModelNotFound(f"adapter version {digest} no longer exists in the registry") from error
    except DigestMismatch as error:
        raise AdapterFailed(f"the registry sent other bytes than {digest}; they were discarded") from error
    except RegistryUnavailable as error:
        raise AdapterFailed("the adapter is not on this machine and the registry does not answer") from error
    except RegistryError as error:
        raise AdapterFailed(f"the registry did not hand out {digest}: {error.message}") from error
