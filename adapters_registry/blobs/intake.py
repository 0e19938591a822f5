"""The end of an upload: moved from staging into the store, then reported to the owner of the rows. Blocking."""

from __future__ import annotations

from collections.abc import Callable

from adapters_registry.blobs.staging import Staging
from adapters_registry.blobs.store import BlobStore
from adapters_registry.blobs.upload import Upload
from adapters_registry.errors import BlobNotFound, StorageFailed

Finished = Callable[[str, str, int], None]
"""Called with tenant, digest and bytes once the store has them. Raises ``BlobNotFound`` if they were deleted
meanwhile, any other ``RegistryError`` to refuse the upload."""
_PUTS = 3


def keep(upload: Upload, staging: Staging, blobs: BlobStore, finished: Finished) -> bool:
    """Ends the complete ``upload``; True if its bytes are new to the store.

    Raises ``DigestMismatch``, ``StorageFull``, or what ``finished`` raises, and then nothing stays staged; or
    ``StorageFailed``, and then the bytes are parked if possible, so that only the end must be repeated.
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
    """Between the put and the rows the collector may delete bytes that existed before: then puts them once more."""
    target = upload.target
    for _ in range(_PUTS):
        new = blobs.put(target.path, target.digest, upload.size)
        try:
            finished(target.tenant, target.digest, upload.size)
        except BlobNotFound:
            if target.path.exists():
                continue
            break  # the store moved the staged file, and the collector deleted it
        return new
    raise StorageFailed(f"{target.digest} was deleted while it was stored: repeat the request.", retry_after_s=1)
