"""The gateway's copy of the registry: resolves names to versions and keys to callers without a remote call.

```
disk (last known good) ──► memory ◄── follow(): snapshot once, then long-polled changes
                             │  └───► disk, each change appended (catalog_saver.py)
                             ▼
                 find, list, keys.admit      (they also work while the registry is down)
```

Only its owner can read the file, because it contains hashes of keys. Its mtime is the time of the registry's last
answer, so that a restart does not make old keys count as recent.

A registry with another history was restored from a backup, or is another registry. The catalog follows it, except
that keys which ended meanwhile stay ended (``keyring.py``), and reports it. A registry that had keys and has none any
more has lost its database: its answers are ignored.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

from adapters_registry.access import DEFAULT_TENANT, Principal
from adapters_registry.background import in_background
from adapters_registry.errors import KeysLost, RegistryError
from adapters_registry.mark import KeyMark
from adapters_registry.names import PRODUCTION
from adapters_registry.records import AdapterRecord, Changes, Snapshot, TenantQuotas
from service.access.catalog_file import Known, Later
from service.access.catalog_saver import CatalogSaver
from service.access.directory import Directory, Listed, Name
from service.access.keyring import Keyring
from service.access.names import Alias, ModelName
from service.errors import AdapterIncompatible, ModelNotFound
from service.report import CatalogReport
from service.values import AdapterRef

log = logging.getLogger(__name__)

POLL_S = 25.0
BACKOFF_S = (0.1, 5.0)
"""First and longest pause between attempts while the registry does not answer."""


class CatalogSource(Protocol):
    """The part of the registry's client that the catalog uses."""

    async def snapshot(self) -> Snapshot: ...
    async def changes(self, since: int, wait_s: float, head: str | None) -> Changes: ...


def model_not_found(name: ModelName) -> ModelNotFound:
    """One message for unknown, deleted and other tenants' adapters, so that a tenant cannot distinguish them."""
    return ModelNotFound(f"The model `{name}` does not exist or you do not have access to it.", param="model")


class Catalog:
    """The adapters and their aliases, as of the last received change."""

    def __init__(self, source: CatalogSource, path: Path, base_digest: str, mark: KeyMark | None = None) -> None:
        """Reads ``path`` if it exists; sends nothing. ``mark`` as for ``Keyring``."""
        self._source = source
        self._saver = CatalogSaver(path, self._known)
        self._base = base_digest
        self._seq: int | None = None
        self._head: str | None = None
        """The audit log's digest at ``_seq``; it identifies the registry's history."""
        self._entries = Directory()
        self._heard = asyncio.Event()
        self._reachable = False
        self._lost = False
        self._heard_at: float | None = None
        self._started_at = time.monotonic()
        self._restores = 0
        self._restored_at: float | None = None
        self.keys = Keyring(mark)
        self._load()

    def __repr__(self) -> str:
        return f"<Catalog seq {self._seq}: {len(self._entries)} adapters>"

    @property
    def seq(self) -> int | None:
        """The last change applied; None while nothing is known."""
        return self._seq

    def report(self) -> CatalogReport:
        """The current state of the connection to the registry."""
        age_s = None if self._heard_at is None else time.monotonic() - self._heard_at
        return CatalogReport(
            self._seq,
            len(self._entries),
            self._reachable,
            age_s,
            keys_lost=self.keys.lost or self._lost,
            restores=self._restores,
            restored_at=self._restored_at,
            contested=self.keys.contested,
        )

    def silent_s(self) -> float:
        """Seconds since the last contact with the registry, by this process or by the one that wrote the file."""
        if self._heard_at is not None:
            return time.monotonic() - self._heard_at
        return self._saver.age_at_start_s + time.monotonic() - self._started_at

    async def loaded(self) -> None:
        """Returns once the catalog has contents: from disk, or from the registry's first answer."""
        await self._heard.wait()

    def find(self, name: ModelName, principal: Principal) -> Listed:
        """The version that ``name`` means now to ``principal``.

        Raises ``ModelNotFound``, by the same code path for unknown and other tenants' adapters, or
        ``AdapterIncompatible`` if it was made for another base.
        """
        owner = name.tenant or principal.tenant or DEFAULT_TENANT
        entry = self._entries.find((owner, name.adapter))
        version = entry.version(name.selector)
        if not entry.open_to(principal) or version is None:
            raise model_not_found(name)
        if version.base != self._base:
            raise AdapterIncompatible(
                f"{owner}/{name.adapter}@{version.number} was made for base {version.base}, "
                f"but {self._base} is served: train or convert it for the served base",
                param="model",
            )
        return entry.listed(version)

    def may_use(self, ref: AdapterRef, principal: Principal) -> bool:
        """Whether the principal owns the adapter, deleted or not, or it is shared with the principal."""
        entry = self._entries.find((ref.tenant, ref.name))
        return principal.acts_for(ref.tenant) or entry.open_to(principal)

    def names_of(self, digests: Iterable[str], principal: Principal) -> dict[str, list[AdapterRef]]:
        """Digest → its versions that ``principal`` may use; several adapters may have the same bytes."""
        found: dict[str, list[AdapterRef]] = {digest: [] for digest in digests}
        for entry in self._entries.open_to(principal):
            for digest in entry.by_digest.keys() & found.keys():
                found[digest].append(entry.listed(entry.by_digest[digest]).ref)
        return found

    def list_models(self, principal: Principal, after: Name | None = None, limit: int | None = None) -> list[Listed]:
        """The production version of each adapter that ``principal`` may use and the served base can run, by name.

        At most ``limit`` entries, beginning after the name ``after``.
        """
        found = (
            entry.listed(version)
            for entry in self._entries.open_to(principal, after)
            if (version := entry.version(Alias(PRODUCTION))) is not None and version.base == self._base
        )
        return list(islice(found, limit))

    async def follow(self) -> None:
        """Apply the registry's changes until cancelled. While the registry is down, it is tried again forever."""
        writer = in_background(self._saver.run, "catalog's file")
        try:
            await self._follow()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._saver.flush()

    async def _follow(self) -> None:
        pause_s, down = BACKOFF_S[0], False
        while True:
            try:
                await self._poll()
            except RegistryError as error:
                lost, self._lost = self._lost, isinstance(error, KeysLost)
                if self._lost and not lost:
                    self.keys.lose()
                    log.error(
                        "the registry has lost its keys, continuing with the known state", extra={"error": str(error)}
                    )
                elif not down:
                    log.warning(
                        "registry does not answer, continuing with the known state", extra={"error": str(error)}
                    )
            except Exception:
                # If this task ended, all aliases would be frozen until a restart: log the defect and retry.
                log.exception("cannot apply the registry's answer")
            else:
                if down:
                    log.info("registry answers again", extra={"seq": self._seq})
                pause_s, down = BACKOFF_S[0], False
                self._reachable, self._lost, self._heard_at = True, False, time.monotonic()
                self._saver.answered(self._heard_at)
                continue
            down, self._reachable = True, False
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, hides nothing
            pause_s = min(pause_s * 2, BACKOFF_S[1])

    async def _poll(self) -> None:
        if self._seq is None:
            self._replace(_credible(await self._source.snapshot(), self.keys))
            return
        # While it is not known whether the registry answers, do not let the request wait for a change.
        changes = await self._source.changes(self._seq, POLL_S if self._reachable else 0.0, self._head)
        if changes.reset:
            self._restore(_credible(await self._source.snapshot(), self.keys))
        elif changes.seq > self._seq:
            if changes.keys == () and self.keys.is_marked:
                raise _lost()
            merged = self._entries.merge(changes.adapters)
            if changes.tenants is not None:
                self._quotas_are(changes.tenants)
            if changes.keys is not None:
                self.keys.replace(changes.keys, datetime.now(UTC))
            self._note(changes, merged)
            self._advance(changes.seq, changes.head)
        elif changes.seq == self._seq and self._head is None and changes.head is not None:
            self._note(changes, ())
            self._advance(changes.seq, changes.head)  # an upgraded registry now sends the digest of its history

    def _replace(self, snapshot: Snapshot, *, restored: bool = False) -> None:
        """Replaces everything with ``snapshot`` and writes it; ``restored`` as for ``Keyring.replace``."""
        self._take(snapshot, restored=restored)
        self._saver.replace(snapshot.seq)

    def _take(self, snapshot: Snapshot, *, restored: bool = False) -> None:
        self._entries = Directory(snapshot.adapters)
        self.keys.replace(snapshot.keys, datetime.now(UTC), restored=restored)
        self._quotas_are(snapshot.tenants)
        self._advance(snapshot.seq, snapshot.head)

    def _restore(self, snapshot: Snapshot) -> None:
        """Replaces everything with ``snapshot``, which has another history; keys that ended stay ended."""
        before = self._seq
        self._replace(snapshot, restored=True)
        self._restores += 1
        self._restored_at = time.time()
        log.warning(
            "the registry has another history, as after a restore from a backup: following it",
            extra={"before": before, "seq": snapshot.seq, "keys_to_revoke_again": ", ".join(self.keys.contested)},
        )

    def _quotas_are(self, tenants: Iterable[TenantQuotas]) -> None:
        self.keys.tenants = {tenant.name: tenant for tenant in tenants}

    def _note(self, changes: Changes, merged: tuple[AdapterRecord, ...]) -> None:
        """Passes the change on to be written to disk."""
        keys, ended = (None, None) if changes.keys is None else (self.keys.grants, dict(self.keys.ended))
        self._saver.add(
            Later(
                seq=changes.seq,
                head=changes.head,
                adapters=merged,
                keys=keys,
                ended=ended,
                tenants=changes.tenants,
            )
        )

    def _advance(self, seq: int, head: str | None) -> None:
        self._seq, self._head = seq, head
        self._heard.set()

    def _load(self) -> None:
        known = self._saver.read()
        if known is not None:
            self.keys.ended.update(known.ended)
            self._take(known)

    def _known(self) -> Known:
        assert self._seq is not None
        adapters = tuple(entry.record for entry in self._entries.values())
        return Known(
            seq=self._seq,
            head=self._head,
            adapters=adapters,
            keys=self.keys.grants,
            tenants=tuple(self.keys.tenants.values()),
            ended=dict(self.keys.ended),
        )


def _credible(snapshot: Snapshot, known: Keyring) -> Snapshot:
    """Returns ``snapshot``; raises ``KeysLost`` if keys existed and it has none."""
    if not snapshot.keys and known.is_marked:
        raise _lost()
    return snapshot


def _lost() -> KeysLost:
    return KeysLost("it had API keys and has none any more: restore its database, or make an admin key there")
