"""Adapters, versions and aliases by HTTP: the registry's verbs under their own names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters_registry.client.connection import Connection, at, given, if_match
from adapters_registry.records import (
    AdapterPage,
    AdapterRecord,
    AliasRecord,
    Evaluation,
    Lineage,
    VersionDetail,
)
from adapters_registry.wire import parse


class AdapterCalls(Connection):
    """Calls that read and change adapters, versions and aliases."""

    def adapters(self, tenant: str | None = None) -> Iterator[AdapterRecord]:
        """All that the key may see, by tenant and name; fetched page by page."""
        after: str | None = None
        while True:
            page = self.page(tenant, after)
            yield from page.adapters
            after = page.next
            if after is None:
                return

    def page(self, tenant: str | None = None, after: str | None = None, limit: int | None = None) -> AdapterPage:
        """One page; ``after`` is the ``next`` of the page before."""
        params = given(tenant=tenant, after=after, limit=limit)
        return parse(AdapterPage, self._send("GET", "/v1/adapters", params=params))

    def adapter(self, tenant: str, name: str) -> AdapterRecord:
        return parse(AdapterRecord, self._send("GET", at(tenant, name)))

    def delete_adapter(self, tenant: str, name: str) -> None:
        self._send("DELETE", at(tenant, name))

    def share(self, tenant: str, name: str, grantee: str) -> AdapterRecord:
        """Share with another tenant, or with all (``*``)."""
        return parse(AdapterRecord, self._send("PUT", f"{at(tenant, name)}/shares/{grantee}"))

    def unshare(self, tenant: str, name: str, grantee: str) -> AdapterRecord:
        return parse(AdapterRecord, self._send("DELETE", f"{at(tenant, name)}/shares/{grantee}"))

    # Versions

    def version(self, digest: str) -> VersionDetail:
        return parse(VersionDetail, self._send("GET", f"/v1/versions/{digest}"))

    def lineage(self, digest: str) -> Lineage:
        """The version's parents and children, as far as the key may see them."""
        return parse(Lineage, self._send("GET", f"/v1/versions/{digest}/lineage"))

    def delete_version(self, tenant: str, name: str, number: int) -> None:
        self._send("DELETE", f"{at(tenant, name)}/versions/{number}")

    def evaluate(
        self, tenant: str, name: str, number: int, evaluation: str, passed: bool, metrics: Mapping[str, float] = {}
    ) -> Evaluation:
        """Record the result of an evaluation of the version."""
        path = f"{at(tenant, name)}/versions/{number}/evaluations/{evaluation}"
        return parse(Evaluation, self._send("PUT", path, json={"passed": passed, "metrics": dict(metrics)}))

    # Aliases

    def resolve(self, tenant: str, name: str, alias: str = "production") -> AliasRecord:
        return parse(AliasRecord, self._send("GET", _alias(tenant, name, alias)))

    def promote(self, tenant: str, name: str, version: int | str, alias: str = "production") -> AliasRecord:
        """Move ``alias`` to ``version`` (number or digest) from wherever it points now."""
        aliases = self.adapter(tenant, name).aliases
        generation = next((a.generation for a in aliases if a.alias == alias), 0)
        return self.move_alias(tenant, name, alias, version, generation)

    def move_alias(
        self, tenant: str, name: str, alias: str, version: int | str, generation: int | None
    ) -> AliasRecord:
        """Only if its generation is still ``generation``; 0: if it is absent."""
        path, headers = _alias(tenant, name, alias), if_match(generation)
        return parse(AliasRecord, self._send("PUT", path, json={"version": version}, headers=headers))

    def rollback(
        self, tenant: str, name: str, alias: str = "production", generation: int | None = None
    ) -> AliasRecord:
        """Move it to the version before; repeated, to the one before that."""
        path = f"{_alias(tenant, name, alias)}/rollback"
        return parse(AliasRecord, self._send("POST", path, headers=if_match(generation)))

    def delete_alias(self, tenant: str, name: str, alias: str, generation: int | None = None) -> None:
        self._send("DELETE", _alias(tenant, name, alias), headers=if_match(generation))

    def protect_alias(
        self, tenant: str, name: str, alias: str, protected: bool = True, requires: str | None = None
    ) -> AliasRecord:
        """Whether it moves with ``alias:write`` only, and the evaluation that a version must have passed."""
        body = {"protected": protected, "requires": requires}
        return parse(AliasRecord, self._send("PUT", f"{_alias(tenant, name, alias)}/protection", json=body))


def _alias(tenant: str, name: str, alias: str) -> str:
    return f"{at(tenant, name)}/aliases/{alias}"
