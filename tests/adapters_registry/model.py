"""The registry as dictionaries: what each verb must answer, in the simplest words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters_registry.errors import (
    AdapterNotFound,
    AliasInUse,
    AliasNotFound,
    AliasProtected,
    BlobMissing,
    EvaluationRequired,
    GenerationMismatch,
    GenerationRequired,
    NoPreviousVersion,
    QuotaExceeded,
    VersionDeleted,
    VersionNotFound,
)

Name = tuple[str, str]
"""Tenant and adapter."""


@dataclass(frozen=True)
class Artifact:
    """What can be pushed. ``files`` are the sizes of its blobs by digest."""

    digest: str
    files: dict[str, int] = field(hash=False)


@dataclass
class Version:
    number: int
    artifact: Artifact
    live: bool = True
    passed: dict[str, bool] = field(default_factory=dict)


@dataclass
class Alias:
    version: int | None = None
    generation: int = 0
    protected: bool = False
    requires: str | None = None
    before: list[int] = field(default_factory=list)
    """Where rollbacks go, the next one last."""


@dataclass
class Adapter:
    live: bool = True
    versions: list[Version] = field(default_factory=list)
    aliases: dict[str, Alias] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def alive(self) -> list[Version]:
        return [version for version in self.versions if version.live]


@dataclass
class Tenant:
    leases: dict[str, int] = field(default_factory=dict)
    max_versions: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Caller:
    """A key of one tenant."""

    tenant: str
    moves_protected: bool


class Model:
    """Every verb raises what the registry answers, or changes the dictionaries."""

    def __init__(self, tenants: list[str]) -> None:
        self.tenants = {name: Tenant() for name in tenants}
        self.adapters: dict[Name, Adapter] = {}

    # Bytes

    def held(self, tenant: str) -> dict[str, int]:
        found = dict(self.tenants[tenant].leases)
        for (owner, _), adapter in self.adapters.items():
            if owner == tenant:
                for version in adapter.alive():
                    found.update(version.artifact.files)
        return found

    def upload(self, by: Caller, digest: str, size: int) -> None:
        held, bound = self.held(by.tenant), self.tenants[by.tenant].max_bytes
        if digest in held:
            return
        if bound is not None and sum(held.values()) + size > bound:
            raise QuotaExceeded("")
        self.tenants[by.tenant].leases[digest] = size

    # Versions

    def publish(self, by: Caller, name: Name, artifact: Artifact, promote: bool) -> tuple[int, bool]:
        self._owned(by, name)
        tenant = self.tenants[name[0]]
        if not artifact.files.keys() <= self.held(name[0]).keys():
            raise BlobMissing("")
        adapter = self.adapters.get(name) or Adapter()
        first = not adapter.alive()
        same = [version for version in adapter.alive() if version.artifact == artifact]
        if not same and tenant.max_versions is not None and self.count(name[0]) >= tenant.max_versions:
            raise QuotaExceeded("")
        version = same[0] if same else Version(len(adapter.versions) + 1, artifact)
        alias = adapter.aliases.get("production") or Alias()
        goes_live = first and (not alias.protected or (by.moves_protected and alias.requires is None))
        if promote or goes_live:
            self._check_protection(by, alias, version)
            self._point(alias, version.number)
            adapter.aliases["production"] = alias
        if not same:
            adapter.versions.append(version)
            for digest in artifact.files:
                tenant.leases.pop(digest, None)
        adapter.live = True
        self.adapters[name] = adapter
        return version.number, not same

    def count(self, tenant: str) -> int:
        return sum(len(adapter.alive()) for (owner, _), adapter in self.adapters.items() if owner == tenant)

    def delete_version(self, by: Caller, name: Name, number: int) -> None:
        adapter = self._live(by, name)
        version = self._version(adapter, number)
        if number in [alias.version for alias in adapter.aliases.values()]:
            raise AliasInUse("")
        version.live = False

    def evaluate(self, by: Caller, name: Name, number: int, evaluation: str, passed: bool) -> None:
        self._version(self._live(by, name), number).passed[evaluation] = passed

    def find(self, by: Caller, digest: str) -> None:
        """Whether a version of the digest can be seen."""
        if any(v.artifact.digest == digest for name in self.seen(by.tenant) for v in self.adapters[name].alive()):
            return
        own = [a for (owner, _), a in self.adapters.items() if owner == by.tenant]
        if any(version.artifact.digest == digest for adapter in own for version in adapter.versions):
            raise VersionDeleted("")
        raise VersionNotFound("")

    # Aliases

    def move(self, by: Caller, name: Name, alias: str, number: int, generation: int | None) -> int:
        adapter = self._live(by, name)
        version = self._version(adapter, number)
        pointer = adapter.aliases.get(alias) or Alias()
        there = pointer.generation if pointer.version is not None else 0
        if generation is None and there:
            raise GenerationRequired("")
        if generation is not None and generation != there:
            raise GenerationMismatch("")
        self._check_protection(by, pointer, version)
        self._point(pointer, number)
        adapter.aliases[alias] = pointer
        return pointer.generation

    def rollback(self, by: Caller, name: Name, alias: str) -> int:
        adapter = self._live(by, name)
        pointer = self._alias(adapter, alias)
        self._check_rights(by, pointer)
        alive = {version.number for version in adapter.alive()}
        before = list(pointer.before)
        while before and (before[-1] not in alive or before[-1] == pointer.version):
            before.pop()
        if not before:
            raise NoPreviousVersion("")
        pointer.version = before.pop()
        pointer.before = before
        pointer.generation += 1
        return pointer.version

    def delete_alias(self, by: Caller, name: Name, alias: str) -> None:
        pointer = self._alias(self._live(by, name), alias)
        self._check_rights(by, pointer)
        pointer.version, pointer.before = None, []
        pointer.generation += 1

    def protect(self, by: Caller, name: Name, alias: str, protected: bool, requires: str | None) -> None:
        pointer = self._alias(self._live(by, name), alias)
        pointer.protected, pointer.requires = protected, requires

    # Adapters

    def delete_adapter(self, by: Caller, name: Name) -> None:
        adapter = self._live(by, name)
        for pointer in adapter.aliases.values():
            if pointer.version is not None:
                self._check_rights(by, pointer)
        adapter.live = False
        adapter.shared.clear()
        for version in adapter.versions:
            version.live = False
        for pointer in adapter.aliases.values():
            pointer.generation += pointer.version is not None
            pointer.version, pointer.before = None, []
            pointer.protected, pointer.requires = False, None

    def share(self, by: Caller, name: Name, grantee: str, shared: bool) -> None:
        adapter = self._live(by, name)
        (adapter.shared.add if shared else adapter.shared.discard)(grantee)

    def seen(self, tenant: str) -> Iterator[Name]:
        """Own and shared, in order."""
        for name, adapter in sorted(self.adapters.items()):
            if adapter.live and (name[0] == tenant or adapter.shared & {tenant, "*"}):
                yield name

    def _owned(self, by: Caller, name: Name) -> None:
        if name[0] != by.tenant:
            raise AdapterNotFound("")

    def _live(self, by: Caller, name: Name) -> Adapter:
        self._owned(by, name)
        adapter = self.adapters.get(name)
        if adapter is None or not adapter.live:
            raise AdapterNotFound("")
        return adapter

    def _version(self, adapter: Adapter, number: int) -> Version:
        if not 1 <= number <= len(adapter.versions):
            raise VersionNotFound("")
        if not adapter.versions[number - 1].live:
            raise VersionDeleted("")
        return adapter.versions[number - 1]

    def _alias(self, adapter: Adapter, alias: str) -> Alias:
        pointer = adapter.aliases.get(alias)
        if pointer is None or pointer.version is None:
            raise AliasNotFound("")
        return pointer

    def _check_rights(self, by: Caller, pointer: Alias) -> None:
        if pointer.protected and not by.moves_protected:
            raise AliasProtected("")

    def _check_protection(self, by: Caller, pointer: Alias, version: Version) -> None:
        if not pointer.protected or pointer.version == version.number:
            return
        self._check_rights(by, pointer)
        if pointer.requires is not None and not version.passed.get(pointer.requires):
            raise EvaluationRequired("")

    def _point(self, pointer: Alias, number: int) -> None:
        if pointer.version == number:
            return
        if pointer.version is not None:
            pointer.before.append(pointer.version)
        pointer.version = number
        pointer.generation += 1
