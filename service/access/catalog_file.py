"""The catalog on disk: the first line has the whole catalog, each further line one later change.

The cost of a change does not depend on the size of the catalog. When the changes are as long as the whole catalog,
the file is written again. A line that a crash cut short is ignored with all lines after it: the file is then older,
but never wrong. Only its owner can read it, because it contains hashes of keys.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters_registry.records import AdapterRecord, KeyGrant, Snapshot, TenantQuotas
from adapters_registry.support.durable import write_whole

log = logging.getLogger(__name__)

LEAST_BYTES = 1 << 20
"""The file is not written again for fewer bytes of changes."""


class Known(Snapshot):
    """The contents of the catalog: the registry's snapshot, and the keys that ended."""

    ended: dict[str, datetime] = Field(default_factory=dict)
    """As ``Keyring.ended``."""


class Later(BaseModel):
    """One change."""

    model_config = ConfigDict(frozen=True)

    seq: int
    head: str | None
    adapters: tuple[AdapterRecord, ...] = ()
    """The changed adapters; one without versions was deleted."""
    keys: tuple[KeyGrant, ...] | None = None
    """All keys; None: unchanged."""
    ended: dict[str, datetime] | None = None
    tenants: tuple[TenantQuotas, ...] | None = None
    """All tenants with quotas; None: unchanged."""


class CatalogFile:
    """Belongs to one process. If another process wrote the file meanwhile, the whole catalog is written again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole_bytes = 0
        self._bytes: int | None = None
        """Size of the file after the last write; None if nothing may be appended."""

    def read(self) -> Known:
        """The contents. Raises ``FileNotFoundError``, ``OSError``, or ``ValidationError`` for an invalid file."""
        data = self.path.read_bytes()
        first, *rest = data.split(b"\n")
        known = Known.model_validate_json(first)
        self._whole_bytes, self._bytes = len(first), len(data)
        laters = []
        for line in rest:
            try:
                laters.append(Later.model_validate_json(line))
            except ValidationError:
                log.warning(
                    "the catalog file ends with an incomplete line, which is ignored", extra={"at": len(laters)}
                )
                self._bytes = None
                break
        return _after(known, laters)

    @property
    def takes_changes(self) -> bool:
        """Whether changes can be appended; otherwise the whole catalog must be written."""
        return self._bytes is not None and self._bytes - self._whole_bytes <= max(LEAST_BYTES, self._whole_bytes)

    def write(self, known: Known) -> None:
        """Write the whole catalog. Raises ``OSError``; the old file is then unchanged."""
        data = known.model_dump_json().encode()
        self._bytes = None
        write_whole(self.path, [data])
        self._whole_bytes = self._bytes = len(data)

    def append(self, laters: Sequence[Later]) -> None:
        """Append changes. Raises ``OSError``; the file is then still valid, but nothing more can be appended."""
        data = b"".join(b"\n" + later.model_dump_json().encode() for later in laters)
        before, self._bytes = self._bytes, None
        with self.path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) != before:
                raise OSError("another process has written the file")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._bytes = before + len(data)


def _after(known: Known, laters: Sequence[Later]) -> Known:
    """``known`` with all changes."""
    adapters = {(record.tenant, record.name): record for record in known.adapters}
    changed: dict[str, object] = {}
    for later in laters:
        for record in later.adapters:
            adapters.pop((record.tenant, record.name), None)
            if record.versions:
                adapters[record.tenant, record.name] = record
        changed |= {"seq": later.seq, "head": later.head}
        if later.keys is not None:
            changed |= {"keys": later.keys, "ended": later.ended or {}}
        if later.tenants is not None:
            changed |= {"tenants": later.tenants}
    return known.model_copy(update=changed | {"adapters": tuple(adapters.values())})
