"""Authorization: scopes, principals, and the text of an API key.

    qc_<id: 12 characters>_<secret: 43 characters of base64url, 256 bits>

The id is public and names the key in lists, logs and the audit log. Of the secret only the SHA-256 is kept: the
secret is random and long, so a slow hash would protect nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"
ID_CHARS = "abcdefghijklmnopqrstuvwxyz234567"
_KEY = re.compile(r"qc_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """One permission. ``admin`` includes all others but ``serve``."""

    INFER = "infer"
    FEEDBACK_WRITE = "feedback:write"
    FEEDBACK_EXPORT = "feedback:export"
    FEEDBACK_ERASE = "feedback:erase"
    ADAPTER_READ = "adapter:read"
    ADAPTER_WRITE = "adapter:write"
    ALIAS_WRITE = "alias:write"
    """Move protected aliases; the others need only ``adapter:write``."""
    ADMIN = "admin"
    """Keys, tenants, quotas, audit log, collection."""
    SCRAPE = "scrape"
    """Read ``/metrics`` and residency."""
    SERVE = "serve"
    """For gateways and replicas: follow all tenants' adapters and keys' hashes, fetch blobs, announce bases."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller and its permissions."""

    id: str
    """The key's public id, for logs and the audit log."""
    tenant: str | None
    """The tenant that it acts for; None: all tenants."""
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or (Scope.ADMIN in self.scopes and scope is not Scope.SERVE)

    def acts_for(self, tenant: str) -> bool:
        return self.tenant in (None, tenant)

    @property
    def account(self) -> str:
        """The account for shared resources: the tenant, or the key if it acts for all tenants."""
        return self.tenant or f"key:{self.id}"  # no tenant's name has a colon

    @property
    def is_only_caller(self) -> bool:
        """Whether no other caller can exist, so that shares do not apply."""
        return self.id == ANONYMOUS.id


ANONYMOUS = Principal("anonymous", None, frozenset(Scope))
"""The principal of all requests while no key exists; the listeners are then on loopback only."""


@dataclass(frozen=True, slots=True)
class KeyText:
    """The parts of a key."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"qc_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"<KeyText {self.id}>"

    @property
    def secret_hash(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, secret_hash: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self.secret_hash, secret_hash)


def new_key() -> KeyText:
    return KeyText("".join(secrets.choice(ID_CHARS) for _ in range(12)), secrets.token_urlsafe(32))


def parse_key(text: str) -> KeyText | None:
    """None if ``text`` does not have the form of a key."""
    found = _KEY.fullmatch(text)
    return None if found is None else KeyText(found[1], found[2])
