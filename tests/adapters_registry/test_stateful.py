"""The whole API against a model of dictionaries: random requests with the keys of two tenants over a real socket."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters_registry.access import Scope, new_key
from adapters_registry.api.app import create_app
from adapters_registry.blobs import DirectoryBlobs, Staging
from adapters_registry.client import RegistryClient
from adapters_registry.database import open_sqlite
from adapters_registry.errors import RegistryError
from adapters_registry.feed import Feed
from adapters_registry.folder import describe
from adapters_registry.kinds import judge
from adapters_registry.metadata import Metadata
from adapters_registry.records import AdapterRecord, Changes, Snapshot, TenantBounds
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving
from tests.adapters_registry.model import Artifact, Caller, Model, Name

ADAPTERS = ("one", "two")
ALIASES = ("production", "canary")
EVALUATIONS = ("safety", "quality")
REACHED = {
    "done",
    "adapter_not_found",
    "alias_in_use",
    "alias_not_found",
    "alias_protected",
    "blob_missing",
    "generation_mismatch",
    "generation_required",
    "no_previous_version",
    "version_deleted",
    "version_not_found",
}
"""How rules must have ended in a long run, or it shows less than it seems to."""
OWNER = (Scope.ADAPTER_READ, Scope.ADAPTER_WRITE, Scope.ALIAS_WRITE)
WRITER = OWNER[:2]


class World:
    """A served registry, whose operator is at hand, and the artifacts that are pushed to it."""

    def __init__(self, url: str, service_key: str, folder: Path) -> None:
        with RegistryClient(url) as anonymous:
            operator = anonymous.create_key("operator", [Scope.ADMIN]).key
        self.url = url
        self.operator = RegistryClient(url, key=operator)
        self.service = RegistryClient(url, key=service_key)
        self.service.put_base(artifacts.base())
        self.tenants = (f"tenant{number}" for number in itertools.count())
        self.steps = 0
        self.seen: Counter[tuple[str, str]] = Counter()
        """How often which rule ended how."""
        self.paths: dict[str, Path] = {}
        self.folders: list[list[str]] = []
        for number in range(5):
            weights = artifacts.pack(artifacts.tensors((number + 1) / 8))
            settings = artifacts.config(lora_alpha=4 + number % 2)
            path = artifacts.folder(folder / str(number), settings, weights)
            described = [describe(path / name) for name in ("adapter_config.json", "adapter_model.safetensors")]
            self.paths |= {file.digest: path / file.path for file in described}
            self.folders.append([file.digest for file in described])

    def close(self) -> None:
        for client in (self.operator, self.service):
            client.__exit__()


def outcome(call: Callable[[], Any]) -> Any:
    """What it gives, or the code it is refused with."""
    try:
        return call()
    except RegistryError as error:
        return error.code


class Machine(RuleBasedStateMachine):
    """Each rule asks the registry and the model, and compares."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.tenants = [next(world.tenants), next(world.tenants)]
        self.model = Model(self.tenants)
        self.clients: list[tuple[Caller, RegistryClient, str]] = []
        self.digests: dict[int, str] = {}
        self.known: dict[Name, AdapterRecord] = {}
        self.seq = 0

    @initialize()
    def begin(self) -> None:
        for tenant in self.tenants:
            self.world.operator.put_tenant(tenant, TenantBounds())
            for scopes in (OWNER, WRITER):
                new = self.world.operator.create_key("caller", scopes, tenant)
                caller = Caller(tenant, Scope.ALIAS_WRITE in scopes)
                self.clients.append((caller, RegistryClient(self.world.url, key=new.key), new.record.id))
        self.follow(self.world.service._send("GET", "/v1/snapshot"))
        for tenant, (number, adapter), version in itertools.product((0, 1), enumerate(ADAPTERS), (0, 1)):
            self.publish((2 * tenant, tenant), adapter, 2 * number + version, promote=False, uploaded=True)

    def teardown(self) -> None:
        """What was shared with all would be seen by tenants of later lives."""
        for tenant in self.tenants:
            for record in list(self.world.operator.adapters(tenant)):
                self.world.operator.delete_adapter(record.tenant, record.name)
        for _, client, _ in self.clients:
            client.__exit__()

    def compare(self, rule: str, real: Callable[[], Any], model: Callable[[], Any]) -> Any:
        found, expected = outcome(real), outcome(model)
        self.world.seen[rule, found if isinstance(found, str) else "done"] += 1
        if not isinstance(expected, str) and isinstance(found, str):
            raise AssertionError(f"refused with {found}, although the model gives {expected}")
        assert found == expected
        return found

    def name(self, tenant: int, adapter: str) -> Name:
        return self.tenants[tenant], adapter

    def picked(self, name: Name, pick: int) -> int:
        there = self.model.adapters.get(name)
        return 1 + pick % len(there.versions) if there is not None and pick < 7 else 99

    def artifact(self, number: int) -> Artifact:
        digests = self.world.folders[number]
        return Artifact(str(number), {digest: self.world.paths[digest].stat().st_size for digest in digests})

    who = st.integers(0, 3)
    at = st.sampled_from([(0, 0), (0, 0), (1, 0), (2, 1), (2, 1), (3, 1), (0, 1), (3, 0)])
    """Who, and whose adapter: mostly its own."""
    tenant = st.integers(0, 1)
    adapter = st.sampled_from(ADAPTERS)
    alias = st.sampled_from(ALIASES)
    pick = st.integers(0, 7)
    """Of an adapter's versions, deleted ones too; 7 is one that never was."""
    which = st.integers(0, 4)
    evaluation = st.sampled_from(EVALUATIONS)
    mostly = st.sampled_from([True, True, True, True, False])

    # Bytes and versions

    @rule(who=who, which=which, broken=st.booleans())
    def upload(self, who: int, which: int, broken: bool) -> None:
        caller, client, _ = self.clients[who]
        for digest, size in self.artifact(which).files.items():
            path = self.world.paths[digest]
            if broken:
                half, headers = path.read_bytes()[: size // 2], {"upload-complete": "?0", "upload-length": str(size)}
                client._http.put(f"/v1/uploads/{digest}", content=half, headers=headers)
            self.compare(
                "upload",
                lambda path=path: client.upload(path, describe(path), caller.tenant),
                lambda digest=digest, size=size: self.model.upload(caller, digest, size),
            )

    @rule(at=at, adapter=adapter, which=which, promote=st.booleans(), uploaded=st.booleans())
    def publish(self, at: tuple[int, int], adapter: str, which: int, promote: bool, uploaded: bool) -> None:
        if uploaded:
            self.upload(at[0], which, broken=False)
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        files = [describe(self.world.paths[digest]).model_dump() for digest in self.world.folders[which]]

        def real() -> tuple[int, bool]:
            answer = client._send(
                "POST", f"/v1/adapters/{name[0]}/{name[1]}/versions", json={"files": files, "promote": promote}
            ).json()
            self.digests[which] = answer["record"]["digest"]
            return answer["record"]["number"], answer["created"]

        self.compare("publish", real, lambda: self.model.publish(caller, name, self.artifact(which), promote))

    @rule(at=at, adapter=adapter, pick=pick)
    def delete_version(self, at: tuple[int, int], adapter: str, pick: int) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        number = self.picked(name, pick)
        self.compare(
            "delete_version",
            lambda: client.delete_version(*name, number),
            lambda: self.model.delete_version(caller, name, number),
        )

    @rule(at=at, adapter=adapter, pick=pick, evaluation=evaluation, passed=st.booleans())
    def evaluate(self, at: tuple[int, int], adapter: str, pick: int, evaluation: str, passed: bool) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        number = self.picked(name, pick)
        self.compare(
            "evaluate",
            lambda: client.evaluate(*name, number, evaluation, passed) and None,
            lambda: self.model.evaluate(caller, name, number, evaluation, passed),
        )

    @rule(who=who, which=which)
    def find(self, who: int, which: int) -> None:
        """And fetch, if it is there: nothing that can be seen has lost its bytes."""
        caller, client, _ = self.clients[who]
        digest = self.digests.get(which)
        if digest is None:
            return
        found = self.compare(
            "find", lambda: client.version(digest) and None, lambda: self.model.find(caller, str(which))
        )
        if found is None:
            for file in self.world.folders[which]:
                answer = client._send("GET", f"/v1/blobs/{file}")
                assert artifacts.sha256(answer.content) == file

    # Aliases

    @rule(
        at=at, adapter=adapter, alias=alias, pick=pick,
        guess=st.sampled_from(["right", "right", "right", "none", "wrong"]),
    )  # fmt: skip
    def move(self, at: tuple[int, int], adapter: str, alias: str, pick: int, guess: str) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        number = self.picked(name, pick)
        there = self.model.adapters.get(name)
        pointer = there.aliases.get(alias) if there else None
        right = pointer.generation if pointer and pointer.version is not None else 0
        generation = {"right": right, "none": None, "wrong": right + 1}[guess]
        self.compare(
            "move",
            lambda: client.move_alias(*name, alias, number, generation).generation,
            lambda: self.model.move(caller, name, alias, number, generation),
        )

    @rule(at=at, adapter=adapter, alias=alias, pick=st.integers(0, 3))
    def promote(self, at: tuple[int, int], adapter: str, alias: str, pick: int) -> None:
        """To one that is there, from where the alias is."""
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        there = self.model.adapters[name]
        if not there.alive() or not there.live:
            return
        number = there.alive()[pick % len(there.alive())].number
        pointer = there.aliases.get(alias)
        generation = pointer.generation if pointer and pointer.version is not None else 0
        self.compare(
            "promote",
            lambda: client.move_alias(*name, alias, number, generation).generation,
            lambda: self.model.move(caller, name, alias, number, generation),
        )

    @rule(at=at, adapter=adapter, alias=alias)
    def rollback(self, at: tuple[int, int], adapter: str, alias: str) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        self.compare(
            "rollback",
            lambda: client.rollback(*name, alias).version,
            lambda: self.model.rollback(caller, name, alias),
        )

    @rule(at=at, adapter=adapter, alias=alias)
    def delete_alias(self, at: tuple[int, int], adapter: str, alias: str) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        self.compare(
            "delete_alias",
            lambda: client.delete_alias(*name, alias),
            lambda: self.model.delete_alias(caller, name, alias),
        )

    @rule(tenant=tenant, adapter=adapter, alias=alias, requires=st.sampled_from([None, *EVALUATIONS]))
    def protect(self, tenant: int, adapter: str, alias: str, requires: str | None) -> None:
        caller, client, _ = self.clients[2 * tenant]
        name = self.name(tenant, adapter)
        self.compare(
            "protect",
            lambda: client.protect_alias(*name, alias, True, requires) and None,
            lambda: self.model.protect(caller, name, alias, True, requires),
        )

    @rule(tenant=tenant, adapter=adapter, alias=alias)
    def unprotect(self, tenant: int, adapter: str, alias: str) -> None:
        caller, client, _ = self.clients[2 * tenant]
        name = self.name(tenant, adapter)
        self.compare(
            "unprotect",
            lambda: client.protect_alias(*name, alias, False) and None,
            lambda: self.model.protect(caller, name, alias, False, None),
        )

    # Adapters, tenants, keys

    @rule(at=at, adapter=adapter, spared=mostly)
    def delete_adapter(self, at: tuple[int, int], adapter: str, spared: bool) -> None:
        if spared:
            return
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        self.compare(
            "delete_adapter", lambda: client.delete_adapter(*name), lambda: self.model.delete_adapter(caller, name)
        )

    @rule(at=at, adapter=adapter, everybody=st.booleans(), shared=st.booleans())
    def share(self, at: tuple[int, int], adapter: str, everybody: bool, shared: bool) -> None:
        caller, client, _ = self.clients[at[0]]
        name = self.name(at[1], adapter)
        grantee = "*" if everybody else self.tenants[1 - at[1]]
        verb = client.share if shared else client.unshare
        self.compare(
            "share", lambda: verb(*name, grantee) and None, lambda: self.model.share(caller, name, grantee, shared)
        )

    @rule(tenant=tenant, versions=st.sampled_from([None, 2, 5, None]), some=st.sampled_from([None, 900, 3000, None]))
    def bound(self, tenant: int, versions: int | None, some: int | None) -> None:
        name = self.tenants[tenant]
        self.world.operator.put_tenant(name, TenantBounds(max_versions=versions, max_bytes=some))
        self.model.tenants[name].max_versions, self.model.tenants[name].max_bytes = versions, some

    @rule(who=who)
    def rotate_key(self, who: int) -> None:
        caller, client, id = self.clients[who]
        new = self.world.operator.rotate_key(id, 0)
        assert outcome(lambda: list(client.adapters())) == "invalid_key"
        client.__exit__()
        self.clients[who] = caller, RegistryClient(self.world.url, key=new.key), new.record.id

    @rule()
    def collect(self) -> None:
        """Changes nothing that can be seen, and everything that can be seen keeps its bytes (see ``find``)."""
        self.world.operator.collect(dry_run=False, grace_s=0)

    # What is seen

    @rule(who=who)
    def look(self, who: int) -> None:
        """The list, each adapter, and each alias, as one key sees them."""
        caller, client, _ = self.clients[who]
        mine = [record for record in client.adapters() if record.tenant in self.tenants]
        assert [(record.tenant, record.name) for record in mine] == list(self.model.seen(caller.tenant))
        for tenant, adapter in itertools.product(self.tenants, ADAPTERS):
            found = outcome(lambda at=(tenant, adapter): client.adapter(*at))
            if (tenant, adapter) not in self.model.seen(caller.tenant):
                assert found == "adapter_not_found"
                continue
            assert found in mine
            for alias in ALIASES:
                there = self.model.adapters[tenant, adapter].aliases.get(alias)
                version = outcome(lambda at=(tenant, adapter, alias): client.resolve(*at).version)
                assert version == (there.version if there and there.version is not None else "alias_not_found")

    @rule(tenant=tenant)
    def usage(self, tenant: int) -> None:
        name = self.tenants[tenant]
        record = self.world.operator.tenant(name)
        assert (record.used_versions, record.used_bytes) == (
            self.model.count(name),
            sum(self.model.held(name).values()),
        )

    @invariant()
    def what_is_followed_is_what_is_there(self) -> None:
        """Changes since the snapshot, applied one after the other, give the state; and that is the model's."""
        if not self.clients:
            return
        self.world.steps += 1
        answer = self.world.service._send("GET", "/v1/changes", params={"since": self.seq})
        self.follow(answer)
        assert {name: _shown(record) for name, record in self.known.items()} == _wanted(self.model)

    def follow(self, answer: Any) -> None:
        kind = Changes if "reset" in answer.json() else Snapshot
        found = kind.model_validate_json(answer.content)
        self.seq = found.seq
        for record in found.adapters:
            if record.tenant in self.tenants:
                self.known[record.tenant, record.name] = record
                if not record.versions:
                    del self.known[record.tenant, record.name]


def _shown(record: AdapterRecord) -> object:
    """What the feed says of an adapter."""
    return (
        [version.number for version in record.versions],
        {a.alias: (a.version, a.generation, a.protected, a.requires) for a in record.aliases},
        set(record.shared_with),
    )


def _wanted(model: Model) -> dict[Name, object]:
    return {
        name: (
            [version.number for version in adapter.alive()],
            {
                alias: (pointer.version, pointer.generation, pointer.protected, pointer.requires)
                for alias, pointer in adapter.aliases.items()
                if pointer.version is not None
            },
            set(adapter.shared),
        )
        for name, adapter in model.adapters.items()
        if adapter.alive()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[World]:
    directory, limits, feed, key = tmp_path_factory.mktemp("world"), Limits(grace_s=0), Feed(), new_key()
    shutil.copy(migrated, directory / "registry.db")
    metadata = Metadata(open_sqlite(directory / "registry.db"))
    blobs, staging = DirectoryBlobs(directory / "blobs"), Staging(directory / "staging", limits)
    registry = Registry(metadata, blobs, staging, limits, feed.committed, judge)
    with serving(create_app(registry, feed, limits, service_key=key)) as url:
        world = World(url, str(key), directory / "adapters")
        yield world
        world.close()
    metadata.close()


def run(world: World, examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # over a socket shrinking takes many minutes
        suppress_health_check=list(HealthCheck),
    )
    before = world.steps
    run_state_machine_as_test(lambda: Machine(world), settings=chosen)
    print(f"{world.steps - before} steps in {examples} lives")
    world.operator.verify_audit()


def test_the_registry_does_what_the_model_does(world):
    run(world, examples=5, steps=30)


@pytest.fixture
def machine(world) -> Iterator[Machine]:
    """Rules called by hand, for what random lives seldom meet."""
    machine = Machine(world)
    machine.begin()
    yield machine
    machine.teardown()


def test_bounds_on_versions_and_bytes_are_the_models(world, machine):
    seen = world.seen.copy()
    machine.bound(tenant=0, versions=4, some=None)
    machine.publish(at=(0, 0), adapter="one", which=4, promote=False, uploaded=True)
    machine.publish(at=(2, 1), adapter="one", which=4, promote=False, uploaded=True)
    machine.delete_version(at=(0, 0), adapter="two", pick=1)
    machine.publish(at=(0, 0), adapter="one", which=4, promote=False, uploaded=False)
    machine.bound(tenant=1, versions=None, some=1)
    machine.delete_version(at=(2, 1), adapter="one", pick=2)
    machine.upload(who=2, which=4, broken=False)
    found = world.seen - seen
    assert found["publish", "quota_exceeded"] == 1
    assert found["publish", "done"] == 2
    assert found["upload", "quota_exceeded"] == 1, "of the weights: a version has the same config"
    machine.what_is_followed_is_what_is_there()


def test_an_alias_that_requires_an_evaluation_moves_as_the_models(world, machine):
    seen = world.seen.copy()
    machine.protect(tenant=0, adapter="one", alias="production", requires="safety")
    for passed in (None, False, True):
        if passed is not None:
            machine.evaluate(at=(0, 0), adapter="one", pick=1, evaluation="safety", passed=passed)
        machine.promote(at=(0, 0), adapter="one", alias="production", pick=1)
    machine.publish(at=(0, 0), adapter="one", which=4, promote=True, uploaded=True)
    machine.rollback(at=(0, 0), adapter="one", alias="production")
    found = world.seen - seen
    assert found["promote", "evaluation_required"] == 2
    assert found["promote", "done"] == 1
    assert found["publish", "evaluation_required"] == 1
    assert found["rollback", "done"] == 1
    machine.what_is_followed_is_what_is_there()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_registry_does_what_the_model_does_for_long(world):
    before = world.steps
    run(world, examples=60, steps=60)
    print(*(f"{rule} {how}: {count}" for (rule, how), count in sorted(world.seen.items())), sep="\n")
    assert world.steps - before >= 2000
    assert {how for _, how in world.seen} >= REACHED
