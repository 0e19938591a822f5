"""The end of an upload: from staging into the store, then told to whoever keeps the rows. Blocking."""

from __future__ import annotations

from collections.abc import Callable

from adapters_registry.blobs.staging import Staging
from adapters_registry.blobs.store import BlobStore
from adapters_registry.blobs.upload import Upload
from adapters_registry.errors import BlobNotFound, StorageFailed

Finished = Callable[[str, str, int], None]
"""Tenant, digest, bytes: the store has them. Raises ``BlobNotFound`` if it has lost them again, any other
``RegistryError`` to refuse the upload."""
_PUTS = 3


def keep(upload: Upload, staging: Staging, blobs: BlobStore, finished: Finished) -> bool:
    """Ends the whole ``upload``; True if its bytes are new to the store.

    Raises ``DigestMismatch``, ``StorageFull``, or what ``finished`` raises, and nothing stays staged; or
    ``StorageFailed``, and what could be kept is parked, so that the end alone can be tried again.
    """
    upload.seal()
    try:
        new = _put(upload, blobs, finished)
    except StorageFailed:
        upload.park()
        raise
    except BaseException:
        upload.discard()
        raise
    upload.discard()
    staging.drop(upload.target.tenant, upload.target.digest)
    return new


def _put(upload: Upload, blobs: BlobStore, finished: Finished) -> bool:
    """Between the put and the rows the collector may delete bytes that were there from before: then once more."""
    target = upload.target
    for _ in range(_PUTS):
        new = blobs.put(target.path, target.digest, upload.size)
        try:
            finished(target.tenant, target.digest, upload.size)
        except BlobNotFound:
            if target.path.exists():
                continue
            break  # the store took the staged file, and the collector took that
        return new
    raise StorageFailed(f"{target.digest} was deleted while it was stored: repeat the request.", retry_after_s=1)
