"""State shared by all verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters_registry.blobs import BlobStore, Staging
from adapters_registry.check import Check, check
from adapters_registry.errors import AdapterNotFound, VersionDeleted, VersionNotFound
from adapters_registry.metadata import Metadata
from adapters_registry.rows import Rows, VersionRow
from adapters_registry.settings import Limits


class Verbs:
    """Rows, bytes and limits. Blocking and thread-safe."""

    def __init__(
        self,
        metadata: Metadata,
        blobs: BlobStore,
        staging: Staging,
        limits: Limits,
        committed: Callable[[], None] = lambda: None,
        check: Check = check,
    ) -> None:
        self.metadata = metadata
        self._limits = limits
        self._committed = committed
        """Called after every commit, on the thread that made it."""
        self._check = check
        self.blobs = blobs
        self.staging = staging
        """Uploads in progress."""

    @contextmanager
    def _changing(self) -> Iterator[Rows]:
        with self.metadata.writing() as rows:
            yield rows
        self._committed()


def adapter_id(rows: Rows, tenant: str, name: str, visible_to: str | None = None) -> int:
    """Id of a live adapter that ``visible_to`` owns or that is shared with it; None sees all."""
    row = rows.adapters.get(tenant, name, visible_to)
    if row is None or row.deleted:
        raise AdapterNotFound(f"No adapter {tenant}/{name}.", param="name")
    return row.id


def live_version(rows: Rows, tenant: str, name: str, adapter: int, version: int | str) -> VersionRow:
    """By number or digest."""
    found = rows.versions.get(adapter, version)
    if found is None:
        raise VersionNotFound(f"{tenant}/{name} has no version {version}.", param="version")
    if found.deleted:
        raise VersionDeleted(f"Version {version} of {tenant}/{name} was deleted.", param="version")
    return found
