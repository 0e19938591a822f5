"""Who a request's key stands for: the registry's keys as last heard of, looked up by id and compared by hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from adapters_registry.access import ANONYMOUS, DEFAULT_TENANT, Principal
from adapters_registry.recognition import REFUSED, Stranger, recognise
from adapters_registry.records import KeyGrant, Quotas
from service.errors import InvalidKey, KeysStale, NotReady

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
        found = recognise(authorization, self._grants.get, now)
        if isinstance(found, Stranger):
            error = InvalidKey(REFUSED)
            error.why = found.why
            raise error
        return Caller(found.principal, found.quotas)
