"""API keys: made, listed, rotated, revoked, and recognised in a request. Blocking and thread-safe.

               create / rotate                revoke
    (nothing) ────────────────→ valid ──────────────────→ revoked
                                  │ rotate: expires when the overlap is over
                                  ↓
                               expired

Revocation holds from the next request on, in every process of the registry; serving planes hear of it by the feed.
Whatever is wrong with a key, the answer is the same and takes the same way: one look-up, one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from adapters_registry.access import ANONYMOUS, KeyText, Principal, Scope, new_key
from adapters_registry.errors import InvalidKey, InvalidValue, KeyNotFound, LastAdminKey
from adapters_registry.metadata import Metadata
from adapters_registry.recognition import NO_GRANT, REFUSED, is_over, recognise
from adapters_registry.records import KeyGrant, KeyRecord, NewKey, Quotas
from adapters_registry.rows import Change, Rows
from adapters_registry.rows.keys import ROTATED

MOST_KEYS = 10_000
"""That are not revoked: serving planes hold all of them."""
MOST_OF_TENANT = 1000
"""Of those, so that no tenant's admin takes what is left from the others."""
MOST_OVERLAP_S = 30 * 86_400.0
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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``anonymous``: whether everybody is let in while no key exists."""
        self._metadata = metadata
        self._committed = committed
        self._anonymous = anonymous
        self._settled = {} if service_key is None else {service_key.id: _service_grant(service_key)}
        self._clock = clock
        self._exist = False
        """Once a key exists one always does."""

    def authenticate(self, authorization: str | None) -> Principal:
        """Whose the ``Authorization`` header is; ``InvalidKey``."""
        with self._metadata.reading() as rows:
            found = recognise(authorization, lambda id: self._settled.get(id) or rows.keys.get(id), self._clock())
            self._exist = self._exist or rows.keys.exist()
        if isinstance(found, KeyGrant):
            return found.principal
        if self._anonymous and not self._exist:
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
        """The very first must be an operator's: of every tenant and with ``admin``, or nobody could make another."""
        if not scopes:
            raise InvalidValue("A key needs a scope at least.", param="scopes")
        if Scope.SERVE in scopes and tenant is not None:
            raise InvalidValue(
                "The scope serve sees every tenant's adapters: only a key of no tenant can have it.", param="scopes"
            )
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidValue("expires_at is over already.", param="expires_at")
        with self._changing() as rows:
            if not rows.keys.exist() and (tenant is not None or Scope.ADMIN not in scopes):
                raise InvalidValue(
                    "The first key must have the scope admin and no tenant: "
                    "from then on every request needs a key, and no other could make one.",
                    param="scopes",
                )
            return self._add(rows, _Wish(tenant, name, scopes, quotas, expires_at), by)

    def list(self, tenant: str | None = None) -> tuple[KeyRecord, ...]:
        """Oldest first, expired and revoked ones too; None is all."""
        with self._metadata.reading() as rows:
            return tuple(map(_record, rows.keys.all(tenant)))

    def get(self, id: str) -> KeyRecord:
        with self._metadata.reading() as rows:
            return _record(_known(rows, id))

    def rotate(self, id: str, overlap_s: float, by: Principal = ANONYMOUS) -> NewKey:
        """A key in place of ``id``, which goes on for ``overlap_s``; the new one may live as long as it might.

        Once for each key: a second time its successor is to be rotated.
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
            wish = _Wish(old.tenant, old.name, old.scopes, old.quotas, expires_at)
            new = self._add(rows, wish, by)
            end = now + timedelta(seconds=overlap_s)
            rows.keys.expire(id, end if old.expires_at is None else min(end, old.expires_at))
            rows.record(Change(ROTATED, id, detail={"to": new.record.id}), actor=by.id)
        return new

    def revoke(self, id: str, by: Principal = ANONYMOUS) -> None:
        """At once and for good; again changes nothing. ``LastAdminKey`` if nobody could make a key afterwards."""
        now = self._clock()
        with self._changing() as rows:
            grant = _known(rows, id)
            if grant.revoked_at is not None:
                return
            if _is_operator(grant, now) and not any(
                _is_operator(other, now) for other in rows.keys.unrevoked() if other.id != id
            ):
                raise LastAdminKey(
                    f"Key {id} is the last one with the scope admin and no tenant: create another one first.",
                    param="id",
                )
            rows.keys.revoke(id, now)
            rows.record(Change("key.revoke", id), actor=by.id)

    def exist(self) -> bool:
        """Whether one was ever made: from then on every request needs a key."""
        with self._metadata.reading() as rows:
            return rows.keys.exist()

    def _add(self, rows: Rows, wish: _Wish, by: Principal) -> NewKey:
        tenant_id = None if wish.tenant is None else rows.tenant_id(wish.tenant, create=True)
        if rows.keys.count() >= MOST_KEYS or (tenant_id and rows.keys.count(tenant_id) >= MOST_OF_TENANT):
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
        rows.record(Change("key.create", text.id, detail=_said(grant)), actor=by.id)
        return NewKey(record=_record(grant), key=str(text))

    @contextmanager
    def _changing(self) -> Iterator[Rows]:
        with self._metadata.writing() as rows:
            yield rows
        self._committed()


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a new key is to be."""

    tenant: str | None
    name: str
    scopes: Collection[Scope]
    quotas: Quotas
    expires_at: datetime | None


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


def _said(grant: KeyGrant) -> dict[str, JsonValue]:
    """What the audit says of a new key."""
    return {"tenant": grant.tenant, "name": grant.name, "scopes": list(map(str, grant.scopes))}


def _is_operator(grant: KeyGrant, now: datetime) -> bool:
    return grant.tenant is None and Scope.ADMIN in grant.scopes and not is_over(grant, now)
