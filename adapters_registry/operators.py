"""Which keys may be created first and which may end, so that at least one key that can create others stays valid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from adapters_registry.access import Principal, Scope
from adapters_registry.errors import InvalidValue
from adapters_registry.recognition import is_over
from adapters_registry.records import KeyGrant, Quotas
from adapters_registry.rows import Rows


@dataclass(frozen=True, slots=True)
class Wish:
    """Properties of a new key."""

    tenant: str | None
    name: str
    scopes: Collection[Scope]
    quotas: Quotas
    expires_at: datetime | None


def check_first(wish: Wish) -> None:
    if wish.tenant is not None or Scope.ADMIN not in wish.scopes:
        raise InvalidValue(
            "The first key must have the scope admin and no tenant: "
            "from then on every request needs a key, and no other could make one.",
            param="scopes",
        )
    if wish.expires_at is not None:
        raise InvalidValue(
            "The first key must not expire: once it has, nobody could make another.", param="expires_at"
        )


def may_end(rows: Rows, by: Principal, ended: KeyGrant, now: datetime) -> bool:
    """Whether after the end of ``ended`` a key that can create others certainly exists."""
    if not _is_operator(ended, now):
        return True
    if ended.expires_at is not None:
        return any(_lasts(other, now) for other in rows.keys.unrevoked())
    own = rows.keys.get(by.id)
    return own is not None and own.id != ended.id and _lasts(own, now)


def _is_operator(grant: KeyGrant, now: datetime) -> bool:
    return grant.tenant is None and Scope.ADMIN in grant.scopes and not is_over(grant, now)


def _lasts(grant: KeyGrant, now: datetime) -> bool:
    """Whether it is a lasting operator: without tenant and expiry, with the scope ``admin``."""
    return grant.expires_at is None and _is_operator(grant, now)
