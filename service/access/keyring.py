"""Authenticates requests by the registry's keys, as last received: looked up by id, compared by hash."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters_registry.access import ANONYMOUS, DEFAULT_TENANT, Principal
from adapters_registry.errors import RegistryError
from adapters_registry.mark import KeyMark
from adapters_registry.recognition import REFUSED, Unrecognised, recognise
from adapters_registry.records import KeyGrant, Quotas, TenantQuotas
from service.errors import InvalidKey, KeysLost, KeysStale, NotReady

log = logging.getLogger(__name__)

RETRY_S = 30.0
LOST = (
    "there were API keys and the registry has none any more, so nobody is let in: restore its database, make an "
    "admin key on its machine (python -m adapters_registry create-admin-key), or go on without keys "
    "(quickchange keys reopen)"
)
MOST_ENDED = 20_000
"""Bound on remembered ended keys; each takes about 150 bytes of memory and of the catalog's file."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller, and its quotas."""

    principal: Principal
    quotas: Quotas
    tenant_quotas: Quotas | None = None
    """Quotas of all keys of its tenant together; None: no quotas."""

    @property
    def id(self) -> str:
        """The key's public id."""
        return self.principal.id

    @property
    def account(self) -> str:
        """The account for shared resources: its tenant, or its key."""
        return self.principal.account

    @property
    def tenant(self) -> str:
        """The tenant of names without one, and of its feedback."""
        return self.principal.tenant or DEFAULT_TENANT


KEYLESS = Caller(ANONYMOUS, Quotas())
"""The caller of all requests while no key exists."""


class Keyring:
    """All keys that are not revoked. Refuses all requests until the registry has answered once.

    Once it had a key, every request needs one, even if the registry reports no keys: a registry never deletes rows of
    keys, so one that has none any more has lost its database.

    A key that ended stays ended, even if the registry, restored from an older backup, reports it as valid.
    """

    def __init__(self, mark: KeyMark | None = None) -> None:
        """``mark`` records that keys existed; it outlasts restarts and the loss of the catalog's file."""
        self._mark = mark or KeyMark()
        self._reported: dict[str, KeyGrant] | None = None
        """As reported by the registry."""
        self._grants: dict[str, KeyGrant] = {}
        """As applied: the reported ones, where those in ``ended`` have their end."""
        self.tenants: dict[str, TenantQuotas] = {}
        """The tenants that have quotas."""
        self.ended: dict[str, datetime] = {}
        """By id, when keys ended that a restored registry might report as valid; oldest first."""

    def __repr__(self) -> str:
        return f"<Keyring {'not loaded' if self._reported is None else len(self._grants)}>"

    @property
    def grants(self) -> tuple[KeyGrant, ...]:
        """As reported by the registry."""
        return tuple((self._reported or {}).values())

    @property
    def known(self) -> bool:
        """Whether requests can be authenticated."""
        return self._reported is not None and not self.lost

    @property
    def lost(self) -> bool:
        """Whether keys existed and the registry now reports none."""
        return self._mark.is_set and self._reported == {}

    @property
    def is_marked(self) -> bool:
        """Whether a key ever existed."""
        return self._mark.is_set

    @property
    def contested(self) -> tuple[str, ...]:
        """Ids of keys that the registry reports as valid and that are refused here, because they ended before."""
        return tuple(id for id, grant in (self._reported or {}).items() if self._grants[id] != grant)

    def need_known(self) -> None:
        """Raises ``NotReady`` or ``KeysLost`` if requests cannot be authenticated."""
        if self._reported is None:
            raise NotReady("the registry has not answered yet, so nobody can be let in: wait and ask again")
        if self.lost:
            raise KeysLost(LOST, retry_after_s=RETRY_S)

    def replace(self, grants: Iterable[KeyGrant], now: datetime, *, restored: bool = False) -> None:
        """Replaces all keys. Requests already admitted continue.

        Earlier keys that are missing were revoked, unless the registry was ``restored``: then they may be newer than
        its backup.
        """
        before, reported = self._grants, {grant.id: grant for grant in grants}
        if restored:
            later = (id for id in before.keys() & reported.keys() if _ends_before(before[id], reported[id]))
            self._end({id: end for id in later if (end := before[id].expires_at) is not None})
        else:
            self._end(dict.fromkeys(before.keys() - reported.keys(), now))
        if reported and not self._mark.is_kept:
            self._remember()
        self._reported = reported
        self._grants = {id: self._as_ended(grant) for id, grant in reported.items()}

    def lose(self) -> None:
        """The registry reports that it has lost its keys. Known keys stay valid; without any, all are refused."""
        if not self._mark.is_set:
            self._remember()
        self._reported = self._reported or {}

    def admit(self, authorization: str | None, now: datetime, *, stale: bool, anonymous: bool) -> Caller:
        """The caller for the ``Authorization`` header; ``stale``: the keys are older than permitted.

        If no key was ever created, it is ``KEYLESS`` if ``anonymous``, regardless of the header.
        Raises ``NotReady``, ``KeysLost``, ``KeysStale`` or ``InvalidKey``.
        """
        self.need_known()
        if not self._grants and anonymous:
            return KEYLESS
        if self._grants and stale:
            raise KeysStale(
                "the registry has not answered for too long to trust the keys known of it: try again once it does",
                retry_after_s=RETRY_S,
            )
        found = recognise(authorization, self._grants.get, now)
        if isinstance(found, Unrecognised):
            error = InvalidKey(REFUSED)
            error.why = found.why
            raise error
        return Caller(found.principal, found.quotas, None if found.tenant is None else self.tenants.get(found.tenant))

    def _end(self, ends: Mapping[str, datetime]) -> None:
        """Add ended keys; an earlier end is kept, and beyond the bound the oldest are dropped."""
        for id, end in ends.items():
            self.ended[id] = min(end, self.ended.get(id, end))
        for id in list(self.ended)[: max(0, len(self.ended) - MOST_ENDED)]:
            del self.ended[id]

    def _as_ended(self, grant: KeyGrant) -> KeyGrant:
        if grant.id not in self.ended:
            return grant
        ended = grant.model_copy(update={"expires_at": self.ended.get(grant.id)})
        return ended if _ends_before(ended, grant) else grant

    def _remember(self) -> None:
        try:
            self._mark.set()
        except RegistryError as error:
            log.error(
                "cannot write the mark of keys: a registry that loses its keys would accept every caller",
                extra={"error": error.message},
            )


def _ends_before(one: KeyGrant, other: KeyGrant) -> bool:
    return one.expires_at is not None and (other.expires_at is None or one.expires_at < other.expires_at)
