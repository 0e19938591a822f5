"""The catalog on the disk: the whole of it in the first line, and each change since in a line of its own.

A change costs what changed, however large the catalog; once the changes have grown as long as the whole it is written
anew. A line that a crash cut short is left out with what follows it: the file says less then, never something wrong.
Readable by its owner only, as it holds the hashes of keys.
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
"""Changes of so many bytes are never worth writing the whole anew."""


class Known(Snapshot):
    """What is known: the registry's snapshot, and what was learnt in addition."""

    ended: dict[str, datetime] = Field(default_factory=dict)
    """As ``Keyring.ended``."""


class Later(BaseModel):
    """What is known since a change."""

    model_config = ConfigDict(frozen=True)

    seq: int
    head: str | None
    adapters: tuple[AdapterRecord, ...] = ()
    """One without versions is gone."""
    keys: tuple[KeyGrant, ...] | None = None
    """All of them; None: as before."""
    ended: dict[str, datetime] | None = None
    tenants: tuple[TenantQuotas, ...] | None = None
    """All that have quotas; None: as before."""


class CatalogFile:
    """Belongs to one process; where another has written meanwhile the whole is written anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole_bytes = 0
        self._bytes: int | None = None
        """Of the file as it was left; None where nothing may be appended."""

    def read(self) -> Known:
        """Raises ``FileNotFoundError``, ``OSError`` or ``ValidationError`` where nothing can be made of it."""
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
        """Whether changes are to be appended; else the whole is to be written."""
        return self._bytes is not None and self._bytes - self._whole_bytes <= max(LEAST_BYTES, self._whole_bytes)

    def write(self, known: Known) -> None:
        """Raises ``OSError``; the old file is whole then."""
        data = known.model_dump_json().encode()
        self._bytes = None
        write_whole(self.path, [data])
        self._whole_bytes = self._bytes = len(data)

    def append(self, laters: Sequence[Later]) -> None:
        """Raises ``OSError``; nothing may be appended then, and what is there stays right."""
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
