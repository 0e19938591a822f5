"""Bytes by digest: staged on the local disk during the upload, then in a directory or in a bucket."""

from adapters_registry.blobs.directory import DirectoryBlobs
from adapters_registry.blobs.disk import storage_error
from adapters_registry.blobs.staging import Staging
from adapters_registry.blobs.store import BlobStore, StoredBlob

__all__ = ["BlobStore", "DirectoryBlobs", "Staging", "StoredBlob", "storage_error"]
