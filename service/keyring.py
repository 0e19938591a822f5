"""Who a request's key stands for: the registry's keys as last heard of, looked up by id and compared by hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters_registry.access import ANONYMOUS, DEFAULT_TENANT, KeyText, Principal, new_key, parse_key
from adapters_registry.records import KeyGrant, Quotas
from service.errors import InvalidKey, KeysStale, NotReady

REFUSED = "The API key is missing or not valid: send a current one as `Authorization: Bearer qc_...`."
"""The one message for a key that is missing, malformed, unknown, wrong, expired or revoked."""
STALE_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how much of what."""

    principal: Principal
    quotas: Quotas

    @property
    def id(self) -> str:
        """The key's public id."""
        return self.principal.id

    @property
    def tenant(self) -> str:
        """The tenant that a name without one means, and whose feedback it gives and reads."""
        return self.principal.tenant or DEFAULT_TENANT


NOBODY = Caller(ANONYMOUS, Quotas())
"""Everybody, while no key exists."""

_NO_KEY = new_key()
"""Stands in for a text that is no key, so that it takes the way of an unknown one."""
_NO_GRANT = KeyGrant(
    id="",
    tenant=None,
    name="",
    scopes=(),
    created_at=datetime.min.replace(tzinfo=UTC),
    secret_hash=hashlib.sha256(secrets.token_bytes(32)).hexdigest(),
)
"""Stands in for an unknown id: its secret was never known to anybody, and it has no scope."""


class Keyring:
    """All keys that are not revoked. Until something was heard of the registry it lets nobody in."""

    def __init__(self) -> None:
        self._grants: dict[str, KeyGrant] | None = None

    def __repr__(self) -> str:
        return f"<Keyring {'unheard' if self._grants is None else len(self._grants)}>"

    @property
    def grants(self) -> tuple[KeyGrant, ...]:
        return tuple((self._grants or {}).values())

    @property
    def known(self) -> bool:
        """Whether it was ever told which keys there are."""
        return self._grants is not None

    def replace(self, grants: Iterable[KeyGrant]) -> None:
        """These are all the keys now; those that run go on."""
        self._grants = {grant.id: grant for grant in grants}

    def admit(self, authorization: str | None, now: datetime, *, stale: bool, anonymous: bool) -> Caller:
        """The caller whose ``Authorization`` header it is; ``stale``: the keys are older than they may be.

        With no keys at all everybody is ``NOBODY`` if ``anonymous``, whatever the header.
        Raises ``NotReady``, ``KeysStale`` or ``InvalidKey``.
        """
        if self._grants is None:
            raise NotReady("the registry was not heard of yet, so nobody can be let in: wait and ask again")
        if not self._grants and anonymous:
            return NOBODY
        if self._grants and stale:
            raise KeysStale(
                "the registry has not answered for too long to trust the keys known of it: try again once it does",
                retry_after_s=STALE_RETRY_S,
            )
        key = parse_key(_bearer(authorization)) or _NO_KEY
        grant = self._grants.get(key.id, _NO_GRANT)
        good = key.matches(grant.secret_hash)
        if not good or _is_over(grant, now):
            error = InvalidKey(REFUSED)
            error.why = _why(authorization, key, grant, good=good)
            raise error
        return Caller(Principal(grant.id, grant.tenant, frozenset(grant.scopes)), grant.quotas)


def _is_over(grant: KeyGrant, now: datetime) -> bool:
    return grant.revoked_at is not None or (grant.expires_at is not None and grant.expires_at <= now)


def _why(authorization: str | None, key: KeyText, grant: KeyGrant, *, good: bool) -> str:
    """For metrics and log: the caller is told none of it. A revoked key is unknown here."""
    if authorization is None:
        return "missing"
    if key is _NO_KEY:
        return "malformed"
    if grant is _NO_GRANT:
        return "unknown"
    return "expired" if good else "wrong"


def _bearer(authorization: str | None) -> str:
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip(" ") if scheme.lower() == "bearer" else ""
