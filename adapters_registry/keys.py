"""API keys: created, listed, rotated, revoked, and authenticated in requests. Blocking and thread-safe.

               create / rotate                revoke
    (nothing) ────────────────→ valid ──────────────────→ revoked
                                  │ rotate: expires when the overlap is over
                                  ↓
                               expired

A revocation takes effect with the next request in every process of the registry; gateways receive it by the feed.
All invalid keys get the same answer by the same code path: one lookup, one comparison.

At least one key that can create others is always valid. A *lasting operator* is a key without tenant and without
expiry that has the scope ``admin``. The first key must be one. To end one, the request must be authenticated by
another one: this proves that an operator has that key (the answer with a new key may have been lost).

A registry that ever had a key refuses requests without one: ``mark.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from adapters_registry.access import ANONYMOUS, KeyText, Principal, Scope, new_key
from adapters_registry.errors import (
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    KeysLost,
    LastAdminKey,
    RegistryError,
    StorageFailed,
    StorageFull,
)
from adapters_registry.mark import KeyMark
from adapters_registry.metadata import Metadata
from adapters_registry.operators import Wish, check_first, may_end
from adapters_registry.recognition import NO_GRANT, REFUSED, is_over, recognise
from adapters_registry.records import KeyGrant, KeyRecord, NewKey, Quotas
from adapters_registry.rows import Change, Rows
from adapters_registry.rows.keys import ROTATED

_log = logging.getLogger(__name__)

MOST_KEYS = 10_000
"""Bound on keys that are not revoked: gateways hold all of them in memory."""
MOST_OF_TENANT = 1000
"""Bound on these per tenant, so that one tenant's admin cannot use up the total."""
ROOM_FOR_OPERATORS = 100
"""Additional keys without tenant, so that an operator can create one although tenants have used up the total."""
MOST_OVERLAP_S = 30 * 86_400.0
LOST_RETRY_S = 30.0
LOST = (
    "This registry had API keys and its database holds none any more, so nobody is let in: restore the database, or "
    "on the registry's machine make an admin key (python -m adapters_registry create-admin-key) or go on without "
    "keys (python -m adapters_registry reopen)."
)
SERVICE = "service"
"""The actor of requests with the key from the settings, which has no row."""


class Keys:
    """All keys of one registry."""

    def __init__(
        self,
        metadata: Metadata,
        committed: Callable[[], None] = lambda: None,
        *,
        anonymous: bool = True,
        service_key: KeyText | None = None,
        mark: KeyMark | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``anonymous``: accept requests without a key until the first key is created, which ``mark`` records."""
        self._metadata = metadata
        self._committed = committed
        self._anonymous = anonymous
        self._settled = {} if service_key is None else {service_key.id: _service_grant(service_key)}
        self._clock = clock
        self._mark = mark or KeyMark()
        if self.exist():
            self._remember()

    def authenticate(self, authorization: str | None) -> Principal:
        """The principal of the ``Authorization`` header; raises ``InvalidKey`` or ``KeysLost``."""
        with self._metadata.reading() as rows:
            found = recognise(authorization, lambda id: self._settled.get(id) or rows.keys.get(id), self._clock())
            # The service's key has no row, so its use does not show whether other keys exist.
            stored = isinstance(found, KeyGrant) and found.id != SERVICE
            exist = stored or rows.keys.exist()
        if exist and not self._mark.is_set:
            self._remember()
        if isinstance(found, KeyGrant):
            return found.principal
        if not exist and self._mark.is_set:
            raise KeysLost(LOST, retry_after_s=LOST_RETRY_S)
        if not exist and self._anonymous:
            return ANONYMOUS
        raise InvalidKey(REFUSED)

    def create(
        self,
        tenant: str | None,
        name: str,
        scopes: Collection[Scope],
        quotas: Quotas = Quotas(),
        expires_at: datetime | None = None,
        by: Principal = ANONYMOUS,
    ) -> NewKey:
        """The first key must be a lasting operator's, or no further key could be created."""
        if not scopes:
            raise InvalidValue("A key needs a scope at least.", param="scopes")
        if Scope.SERVE in scopes and tenant is not None:
            raise InvalidValue(
                "The scope serve sees every tenant's adapters: only a key of no tenant can have it.", param="scopes"
            )
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidValue("expires_at is over already.", param="expires_at")
        wish = Wish(tenant, name, scopes, quotas, expires_at)
        was_set = self._mark.is_set
        try:
            with self._changing() as rows:
                if not rows.keys.exist():
                    check_first(wish)
                new = self._add(rows, wish, by)
                self._mark.set()  # before the key: after a crash in between, requests need a key
                return new
        except BaseException:
            if not was_set and self._mark.is_set:
                self._unmark()
            raise

    def list(self, tenant: str | None = None) -> tuple[KeyRecord, ...]:
        """Oldest first, including expired and revoked keys; None is all."""
        with self._metadata.reading() as rows:
            return tuple(map(_record, rows.keys.all(tenant)))

    def get(self, id: str) -> KeyRecord:
        with self._metadata.reading() as rows:
            return _record(_known(rows, id))

    def rotate(self, id: str, overlap_s: float, by: Principal = ANONYMOUS) -> NewKey:
        """Creates a key that replaces ``id``, which stays valid for ``overlap_s``; the new key may last as long as
        the old.

        Allowed once per key: afterwards its successor is to be rotated. A lasting operator that is not rotated by
        another one (``by``) stays valid until another one revokes it.
        """
        if not 0 <= overlap_s <= MOST_OVERLAP_S:
            raise InvalidValue(f"overlap_s is between 0 and {MOST_OVERLAP_S:g}.", param="overlap_s")
        now = self._clock()
        with self._changing() as rows:
            old = _known(rows, id)
            if is_over(old, now):
                raise InvalidValue(f"Key {id} has ended: create a new one.", param="id")
            if rows.keys.was_rotated(id):
                raise InvalidValue(f"Key {id} was rotated already: rotate the one that took its place.", param="id")
            expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
            wish = Wish(old.tenant, old.name, old.scopes, old.quotas, expires_at)
            new = self._add(rows, wish, by)
            if may_end(rows, by, old, now):
                end = now + timedelta(seconds=overlap_s)
                rows.keys.expire(id, end if old.expires_at is None else min(end, old.expires_at))
            rows.record(Change(ROTATED, id, detail={"to": new.record.id}), actor=by.id)
        return new

    def revoke(self, id: str, by: Principal = ANONYMOUS) -> None:
        """Takes effect at once and cannot be undone; idempotent.

        Raises ``LastAdminKey`` if possibly no key could be created afterwards: a lasting operator is revoked by
        another.
        """
        now = self._clock()
        with self._changing() as rows:
            grant = _known(rows, id)
            if grant.revoked_at is not None:
                return
            if not may_end(rows, by, grant, now):
                raise LastAdminKey(
                    f"Key {id} can make keys. So that somebody always can, revoke it with another such key that has "
                    "no end; if there is none, create one first (scope admin, no tenant, no end).",
                    param="id",
                )
            rows.keys.revoke(id, now)
            rows.record(Change("key.revoke", id), actor=by.id)

    def exist(self) -> bool:
        """Whether a key was ever created: from then on every request needs one."""
        with self._metadata.reading() as rows:
            return rows.keys.exist()

    def _add(self, rows: Rows, wish: Wish, by: Principal) -> NewKey:
        tenant_id = None if wish.tenant is None else rows.tenant_id(wish.tenant, create=True)
        bound = MOST_KEYS if wish.tenant is not None else MOST_KEYS + ROOM_FOR_OPERATORS
        if rows.keys.count() >= bound or (tenant_id and rows.keys.count(tenant_id) >= MOST_OF_TENANT):
            raise InvalidValue("There are as many keys as may be: revoke some that nobody uses any more.")
        text = new_key()
        grant = KeyGrant(
            id=text.id,
            tenant=wish.tenant,
            name=wish.name,
            scopes=tuple(sorted(set(wish.scopes))),
            quotas=wish.quotas,
            created_at=self._clock(),
            expires_at=wish.expires_at,
            secret_hash=text.secret_hash,
        )
        rows.keys.add(grant, tenant_id)
        rows.record(Change("key.create", text.id, detail=_audit_detail(grant)), actor=by.id)
        return NewKey(record=_record(grant), key=str(text))

    def _unmark(self) -> None:
        """Removes the mark, because the first key was not created."""
        with suppress(RegistryError, OSError):
            if not self.exist():
                self._mark.remove()

    def _remember(self) -> None:
        """Keys exist but the mark is missing: they are older than it, or another process created them."""
        try:
            self._mark.set()
        except (StorageFailed, StorageFull) as error:
            _log.error(
                "cannot write the mark of keys: a registry that loses its database would accept every caller",
                extra={"error": error.message},
            )

    @contextmanager
    def _changing(self) -> Iterator[Rows]:
        with self._metadata.writing() as rows:
            yield rows
        self._committed()


def _known(rows: Rows, id: str) -> KeyGrant:
    grant = rows.keys.get(id)
    if grant is None:
        raise no_key(id)
    return grant


def no_key(id: str) -> KeyNotFound:
    """Also for keys of tenants that the caller does not act for."""
    return KeyNotFound(f"No key {id}.", param="id")


def _record(grant: KeyGrant) -> KeyRecord:
    return KeyRecord.model_validate(grant.model_dump(exclude={"secret_hash"}))


def _service_grant(key: KeyText) -> KeyGrant:
    """The key from the settings, which has no row."""
    return NO_GRANT.model_copy(
        update={"id": SERVICE, "scopes": (Scope.SERVE,), "secret_hash": key.secret_hash},
    )


def _audit_detail(grant: KeyGrant) -> dict[str, JsonValue]:
    """The audit log's detail of a new key."""
    return {"tenant": grant.tenant, "name": grant.name, "scopes": list(map(str, grant.scopes))}
