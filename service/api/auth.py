"""Who asks: a key to its principal."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, as far as permissions go."""

    tenant: str
    """The tenant that a model name without one means."""
    name: str
    """Who it is, for the record: the key's public id."""
    any_tenant: bool
    """Whether other tenants' adapters may be used too."""

    def may_use(self, tenant: str) -> bool:
        return self.any_tenant or tenant == self.tenant

    @property
    def visible(self) -> str | None:
        """The tenant whose adapters are listed; None is everybody's."""
        return None if self.any_tenant else self.tenant


ANONYMOUS = Principal(DEFAULT_TENANT, "anonymous", any_tenant=True)
"""The one principal while no key is configured; our listeners then bind to loopback only."""


def principal(request: Request) -> Principal:
    """The caller of ``request``. Any ``Authorization`` is accepted while no key is configured."""
    return ANONYMOUS
