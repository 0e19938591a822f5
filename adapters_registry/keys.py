"""API keys: made, listed, rotated, revoked, and recognised in a request. Blocking and thread-safe.

               create / rotate                revoke
    (nothing) ────────────────→ valid ──────────────────→ revoked
                                  │ rotate: expires when the overlap is over
                                  ↓
                               expired

Revocation holds from the next request on, in every process of the registry; serving planes hear of it by the feed.
Whatever is wrong with a key, the answer is the same and takes the same way: one look-up, one comparison.

Some key that can make others always works. A *lasting operator* is a key of no tenant with ``admin`` and without an
end. The first key is one, and whatever ends one must be asked for with another: that somebody holds that other key is
proved so, and by nothing else (the answer that carried a new key may have been lost).

A registry that ever had a key stays closed: ``mark.py``.
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
"""That are not revoked: serving planes hold all of them."""
MOST_OF_TENANT = 1000
"""Of those, so that no tenant's admin takes what is left from the others."""
ROOM_FOR_OPERATORS = 100
"""Further keys of no tenant, so that tenants that fill the rest keep no operator from making one."""
MOST_OVERLAP_S = 30 * 86_400.0
LOST_RETRY_S = 30.0
LOST = (
    "This registry had API keys and its database holds none any more, so nobody is let in: restore the database, or "
    "on the registry's machine make an admin key (python -m adapters_registry create-admin-key) or go on without "
    "keys (python -m adapters_registry reopen)."
)
SERVICE = "service"
"""The actor that has the key of the settings, which has no row."""


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
        """``anonymous``: whether everybody is let in while no key was ever made; ``mark`` remembers that one was."""
        self._metadata = metadata
        self._committed = committed
        self._anonymous = anonymous
        self._settled = {} if service_key is None else {service_key.id: _service_grant(service_key)}
        self._clock = clock
        self._mark = mark or KeyMark()
        if self.exist():
            self._remember()

    def authenticate(self, authorization: str | None) -> Principal:
        """Whose the ``Authorization`` header is; ``InvalidKey``, or ``KeysLost``."""
        with self._metadata.reading() as rows:
            found = recognise(authorization, lambda id: self._settled.get(id) or rows.keys.get(id), self._clock())
            # The service's own key is no row: that it came says nothing of the others.
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
        """The very first must be a lasting operator's, or nobody could make another."""
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
                self._mark.set()  # before the key: a crash between the two leaves a closed registry, not an open one
                return new
        except BaseException:
            if not was_set and self._mark.is_set:
                self._unmark()
            raise

    def list(self, tenant: str | None = None) -> tuple[KeyRecord, ...]:
        """Oldest first, expired and revoked ones too; None is all."""
        with self._metadata.reading() as rows:
            return tuple(map(_record, rows.keys.all(tenant)))

    def get(self, id: str) -> KeyRecord:
        with self._metadata.reading() as rows:
            return _record(_known(rows, id))

    def rotate(self, id: str, overlap_s: float, by: Principal = ANONYMOUS) -> NewKey:
        """A key in place of ``id``, which goes on for ``overlap_s``; the new one may live as long as it might.

        Once for each key: a second time its successor is to be rotated. A lasting operator that no other one rotates
        (``by``) goes on until it is revoked by another.
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
        """At once and for good; again changes nothing.

        ``LastAdminKey`` if nobody might be able to make a key afterwards: a lasting operator is revoked by another.
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
        """Whether one was ever made: from then on every request needs a key."""
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
        """The first key was not made, as far as can be known."""
        with suppress(RegistryError, OSError):
            if not self.exist():
                self._mark.remove()

    def _remember(self) -> None:
        """Keys are there, and the mark is not: they are older than it, or another process made them."""
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
    """Also for a key of a tenant that the caller does not act for."""
    return KeyNotFound(f"No key {id}.", param="id")


def _record(grant: KeyGrant) -> KeyRecord:
    return KeyRecord.model_validate(grant.model_dump(exclude={"secret_hash"}))


def _service_grant(key: KeyText) -> KeyGrant:
    """The key of the settings, which has no row."""
    return NO_GRANT.model_copy(
        update={"id": SERVICE, "scopes": (Scope.SERVE,), "secret_hash": key.secret_hash},
    )


def _audit_detail(grant: KeyGrant) -> dict[str, JsonValue]:
    """What the audit says of a new key."""
    return {"tenant": grant.tenant, "name": grant.name, "scopes": list(map(str, grant.scopes))}
