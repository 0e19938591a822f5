"""Authenticates an ``Authorization`` header: one lookup, one comparison, for valid and invalid keys alike."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters_registry.access import KeyText, new_key, parse_key
from adapters_registry.records import KeyGrant

REFUSED = "The API key is missing or not valid: send a current one as `Authorization: Bearer qc_...`."
"""The one message for a key that is missing, malformed, unknown, wrong, expired or revoked."""

_NO_KEY = new_key()
"""Replaces a text that is no key, so that it takes the same code path as an unknown one."""
NO_GRANT = KeyGrant(
    id="",
    tenant=None,
    name="",
    scopes=(),
    created_at=datetime.min.replace(tzinfo=UTC),
    secret_hash=hashlib.sha256(secrets.token_bytes(32)).hexdigest(),
)
"""Replaces an unknown id: its secret was never disclosed, and it has no scope."""


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """The header has no valid key."""

    why: str
    """For metrics and log; not sent to the caller."""


def recognise(
    authorization: str | None, find: Callable[[str], KeyGrant | None], now: datetime
) -> KeyGrant | Unrecognised:
    """The grant of the key in the header, looked up by ``find`` of its id."""
    key = parse_key(_bearer(authorization)) or _NO_KEY
    grant = find(key.id) or NO_GRANT
    good = key.matches(grant.secret_hash)
    if good and not is_over(grant, now):
        return grant
    return Unrecognised(_why(authorization, key, grant, good=good))


def is_over(grant: KeyGrant, now: datetime) -> bool:
    """Expired or revoked."""
    return grant.revoked_at is not None or (grant.expires_at is not None and grant.expires_at <= now)


def _why(authorization: str | None, key: KeyText, grant: KeyGrant, *, good: bool) -> str:
    if authorization is None:
        return "missing"
    if key is _NO_KEY:
        return "malformed"
    if grant is NO_GRANT:
        return "unknown"
    if not good:
        return "wrong"
    return "expired" if grant.revoked_at is None else "revoked"


def _bearer(authorization: str | None) -> str:
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip(" ") if scheme.lower() == "bearer" else ""
