"""The registry's errors become the service's where they enter."""

from __future__ import annotations

import pytest

from adapters_registry import errors as registry
from adapters_registry.manifest import File
from service.adapters.source import RegistrySource
from service.errors import AdapterFailed, ModelNotFound, QuickchangeError

DIGEST = "sha256:" + "a" * 64


class Client:
    """A registry client that only fails."""

    def __init__(self, error: registry.RegistryError) -> None:
        self.error = error

    def version(self, digest: str) -> None:
        raise self.error

    def read_blob(self, digest: str, size: int) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (registry.RegistryUnavailable("down"), AdapterFailed),
        (registry.DigestMismatch("bad"), AdapterFailed),
        (registry.BlobNotFound("gone"), AdapterFailed),
        (registry.StorageFailed("disk"), AdapterFailed),
        (registry.VersionNotFound("none"), ModelNotFound),
        (registry.VersionDeleted("deleted"), ModelNotFound),
    ],
)
def test_errors(error: registry.RegistryError, expected: type[QuickchangeError]) -> None:
    source = RegistrySource(Client(error))  # type: ignore[arg-type]
    with pytest.raises(expected):
        source.manifest(DIGEST)
    with pytest.raises(expected):
        source.fetch(File(path="x", digest=DIGEST, size=1))
