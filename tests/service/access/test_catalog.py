"""The gateway's catalog over a registry that answers, goes down, comes back and forgets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters_registry.access import ANONYMOUS, Principal, Scope
from adapters_registry.errors import KeysLost, RegistryError, RegistryUnavailable
from adapters_registry.mark import KeyMark
from adapters_registry.records import AdapterRecord, Changes, KeyGrant, Quotas, Snapshot, TenantQuotas
from service.access import catalog as catalog_module
from service.access import catalog_saver
from service.access.catalog import Catalog
from service.access.catalog_file import CatalogFile
from service.access.names import parse_model
from service.errors import AdapterIncompatible, ModelNotFound, QuickchangeError
from tests.service.api.world import BASE, CREATED, OTHER_BASE, Key, adapter, key, version


class FakeRegistry:
    """A registry's history in memory; ``down`` makes it answer nothing."""

    def __init__(self, history: str = "a") -> None:
        self.seq = 0
        self.history = history
        self.tenants: tuple[TenantQuotas, ...] = ()
        self.adapters: dict[tuple[str, str], tuple[int, AdapterRecord]] = {}
        self.keys: tuple[int, tuple[KeyGrant, ...]] = (0, ())
        self.down: Exception | None = None
        self.calls: list[str] = []
        self._moved = asyncio.Condition()

    async def put(self, *records: AdapterRecord) -> None:
        async with self._moved:
            for record in records:
                self.seq += 1
                self.adapters[(record.tenant, record.name)] = (self.seq, record)
            self._moved.notify_all()

    async def put_keys(self, *keys: KeyGrant) -> None:
        """These are all now that are not revoked."""
        async with self._moved:
            self.seq += 1
            self.keys = (self.seq, keys)
            self._moved.notify_all()

    async def fail(self, error: Exception | None) -> None:
        async with self._moved:
            self.down = error
            self._moved.notify_all()

    async def snapshot(self) -> Snapshot:
        self.calls.append("snapshot")
        if self.down:
            raise self.down
        live = tuple(r for _, r in self.adapters.values() if r.versions)
        return Snapshot(
            seq=self.seq, adapters=live, keys=self.keys[1], head=self.head(self.seq), tenants=self.tenants
        )

    def head(self, seq: int) -> str:
        """What no other history has there."""
        return f"sha256:{hashlib.sha256(f'{self.history}{seq}'.encode()).hexdigest()}"

    async def changes(self, since: int, wait_s: float, head: str | None) -> Changes:
        self.calls.append("changes")
        if (since > self.seq or head not in (None, self.head(since))) and not self.down:
            return Changes(seq=self.seq, adapters=(), reset=True)
        async with self._moved:
            await self._moved.wait_for(lambda: self.down or self.seq > since)
        if self.down:
            raise self.down
        keys = self.keys[1] if self.keys[0] > since else None
        return Changes(
            seq=self.seq,
            adapters=tuple(r for at, r in self.adapters.values() if at > since),
            keys=keys,
            head=self.head(self.seq),
            tenants=self.tenants,
        )


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "BACKOFF_S", (0.001, 0.002))


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "catalog.json"


@contextlib.asynccontextmanager
async def following(catalog: Catalog) -> AsyncIterator[Catalog]:
    task = asyncio.create_task(catalog.follow())
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def of(tenant: str) -> Principal:
    return Principal(f"key-of-{tenant}", tenant, frozenset({Scope.INFER}))


def served(catalog: Catalog, model: str, principal: Principal = ANONYMOUS) -> str:
    """What a model string means now, as text; an error as its code."""
    name = parse_model(model, "base")
    assert name is not None
    try:
        return str(catalog.find(name, principal).ref)
    except (ModelNotFound, AdapterIncompatible) as error:
        return error.code


async def test_names_mean_versions(registry: FakeRegistry, path: Path) -> None:
    await registry.put(
        adapter("acme", "support", version(1), version(2), production=1),
        adapter("default", "mine", version(7)),
        adapter("acme", "foreign", version(4, OTHER_BASE)),
        adapter("acme", "draft", version(1), production=0),
    )
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        assert served(catalog, "acme/support") == "acme/support@1"
        assert served(catalog, "acme/support@2") == "acme/support@2"
        assert served(catalog, f"acme/support@{version(2).digest}") == "acme/support@2"
        assert served(catalog, "base:acme/support@production") == "acme/support@1"
        assert served(catalog, "support", of("acme")) == "acme/support@1"
        assert served(catalog, "mine") == "default/mine@7"
        for missing in (
            "support",
            "acme/support@3",
            "acme/support@canary",
            "no/such",
            f"mine@{version(1).digest}",
            "acme/draft",
        ):
            assert served(catalog, missing) == "model_not_found", missing
        assert served(catalog, "acme/foreign") == "adapter_incompatible"
        assert [str(one.ref) for one in catalog.list_models(ANONYMOUS)] == ["acme/support@1", "default/mine@7"]
        assert [str(one.ref) for one in catalog.list_models(of("default"))] == ["default/mine@7"]


async def test_an_alias_move_and_a_deletion_are_heard_of(registry: FakeRegistry, path: Path) -> None:
    await registry.put(adapter("acme", "support", version(1)))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await registry.put(adapter("acme", "support", version(1), version(2), generation=2))
        await until(lambda: served(catalog, "acme/support") == "acme/support@2")
        gone = adapter("acme", "support").model_copy(update={"versions": (), "aliases": ()})
        await registry.put(gone)
        await until(lambda: served(catalog, "acme/support") == "model_not_found")
        assert registry.calls.count("snapshot") == 1


async def test_a_restart_without_the_registry_serves_what_was_known(registry: FakeRegistry, path: Path) -> None:
    await registry.put(adapter("acme", "support", version(1)))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await registry.put(adapter("acme", "support", version(1), version(2), generation=2))
        await until(lambda: catalog.seq == 2)
    assert [file.name for file in path.parent.iterdir()] == ["catalog.json"]

    await registry.fail(RegistryUnavailable("down"))
    async with following(Catalog(registry, path, BASE)) as again:
        assert served(again, "acme/support") == "acme/support@2"
        assert again.seq == 2
        await until(lambda: len(registry.calls) > 6)
        assert served(again, "acme/support") == "acme/support@2"
        # It comes back and is followed again, from where we were: no snapshot.
        registry.calls.clear()
        await registry.put(adapter("acme", "support", version(1), version(2), production=1, generation=3))
        await registry.fail(None)
        await until(lambda: served(again, "acme/support") == "acme/support@1")
        assert "snapshot" not in registry.calls


@pytest.mark.parametrize("error", [RegistryUnavailable("down"), RegistryError("broken"), KeyError("a defect")])
async def test_the_follower_survives_whatever_the_registry_does(
    registry: FakeRegistry, path: Path, error: Exception
) -> None:
    await registry.put(adapter("acme", "support", version(1)))
    await registry.fail(error)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: len(registry.calls) > 5)
        assert catalog.seq is None
        await registry.fail(None)
        await catalog.loaded()
        assert served(catalog, "acme/support") == "acme/support@1"


async def test_another_history_is_taken_whole_and_reported(
    registry: FakeRegistry, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = (version(1), version(2))
    await registry.put(
        adapter("acme", "old"), adapter("acme", "support", *two, generation=5), adapter("acme", "gone")
    )
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await until(lambda: catalog.seq == 3)
        assert (catalog.report().restores, catalog.report().restored_at) == (0, None)
    restored = FakeRegistry()
    await restored.put(adapter("acme", "support", *two, production=1, generation=4), adapter("acme", "new"))
    async with following(Catalog(restored, path, BASE)) as catalog:
        await until(lambda: catalog.seq == 2)
        assert served(catalog, "acme/support") == "acme/support@1"
        assert served(catalog, "acme/new") == "acme/new@1"
        assert served(catalog, "acme/gone") == "model_not_found"
        assert catalog.report().restores == 1
        assert catalog.report().restored_at == pytest.approx(time.time(), abs=60)
        assert "another history" in caplog.text
        await restored.put(adapter("acme", "support", *two, production=2, generation=5))
        await until(lambda: served(catalog, "acme/support") == "acme/support@2")


async def test_a_restored_registry_that_has_passed_the_known_number_is_noticed(
    registry: FakeRegistry, path: Path
) -> None:
    two = (version(1), version(2))
    await registry.put(adapter("acme", "support", *two, generation=5), adapter("acme", "gone"))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: catalog.seq == 2)
    restored = FakeRegistry("b")
    moves = (adapter("acme", "support", *two, production=1, generation=at) for at in (2, 3, 4))
    await restored.put(*moves)
    async with following(Catalog(restored, path, BASE)) as catalog:
        await until(lambda: catalog.seq == 3)
        assert served(catalog, "acme/support") == "acme/support@1"
        assert served(catalog, "acme/gone") == "model_not_found"
        assert catalog.report().restores == 1


async def test_a_registry_of_an_earlier_release_is_followed_by_number_alone(
    registry: FakeRegistry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(FakeRegistry, "head", lambda registry, seq: None)
        await registry.put(adapter("acme", "support"))
        async with following(Catalog(registry, path, BASE)) as catalog:
            await until(lambda: catalog.seq == 1)
            await registry.put(adapter("acme", "other"))
            await until(lambda: catalog.seq == 2)
    async with following(Catalog(registry, path, BASE)) as catalog:  # the registry was upgraded
        await registry.put(adapter("acme", "third"))
        await until(lambda: catalog.seq == 3)
        assert catalog.report().restores == 0
    restored = FakeRegistry("b")
    await restored.put(*(adapter("acme", "support") for _ in range(4)))
    async with following(Catalog(restored, path, BASE)) as catalog:
        await until(lambda: catalog.report().restores == 1)


async def test_an_alias_that_goes_back_keeps_nothing_else_from_taking_effect(
    registry: FakeRegistry, path: Path
) -> None:
    """Of one history no alias goes back; an unshare, a deleted version and another alias hold all the same."""
    three, globex = (version(1), version(2), version(3)), Principal("k", "globex", frozenset({Scope.INFER}))
    await registry.put(adapter("acme", "support", *three, production=2, generation=5, shared_with=["globex"]))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: bool(catalog.list_models(globex)))
        back = adapter("acme", "support", version(1), version(2), production=1, generation=4)
        await registry.put(back)
        await until(lambda: catalog.seq == 2)
        assert served(catalog, "acme/support") == "acme/support@2"
        assert served(catalog, "acme/support@3") == "model_not_found"
        assert catalog.list_models(globex) == []
        await registry.put(adapter("acme", "support", version(1), production=1, generation=4))
        await until(lambda: served(catalog, "acme/support") == "acme/support@1")


async def test_an_adapter_made_anew_counts_its_generations_anew(registry: FakeRegistry, path: Path) -> None:
    await registry.put(adapter("acme", "support", version(1), version(2), generation=5))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        later = catalog.list_models(ANONYMOUS)[0]
        assert str(later.ref) == "acme/support@2"
        anew = adapter("acme", "support", version(1), generation=1)
        await registry.put(anew.model_copy(update={"created_at": anew.created_at.replace(year=2027)}))
        await until(lambda: served(catalog, "acme/support") == "acme/support@1")


async def test_an_older_answer_changes_nothing(registry: FakeRegistry, path: Path) -> None:
    class Stale(FakeRegistry):
        async def changes(self, since: int, wait_s: float, head: str | None) -> Changes:
            self.calls.append("changes")
            await asyncio.sleep(0)
            return Changes(seq=since - 1, adapters=(adapter("acme", "support", version(1), generation=9),))

    stale = Stale()
    await stale.put(adapter("acme", "support", version(1), version(2)))
    async with following(Catalog(stale, path, BASE)) as catalog:
        await until(lambda: stale.calls.count("changes") > 3)
        assert (catalog.seq, served(catalog, "acme/support")) == (1, "acme/support@2")


async def test_a_broken_file_is_told_and_replaced(
    registry: FakeRegistry, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('{"seq": 4, "adap')
    catalog = Catalog(registry, path, BASE)
    assert catalog.seq is None
    assert "unreadable" in caplog.text
    await registry.put(adapter())
    async with following(catalog):
        await catalog.loaded()
    assert Snapshot.model_validate_json(path.read_text()).seq == 1


async def test_a_full_disk_stops_nothing(
    registry: FakeRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    await registry.put(adapter())
    async with following(Catalog(registry, blocked / "catalog.json", BASE)) as catalog:
        await until(lambda: "cannot write" in caplog.text)
        assert served(catalog, "acme/support") == "acme/support@1"


async def test_foreign_deleted_and_unknown_read_the_same(registry: FakeRegistry, path: Path) -> None:
    catalog = Catalog(registry, path, BASE)
    name = parse_model("acme/support@2", "base")
    assert name is not None
    with pytest.raises(ModelNotFound) as caught:
        catalog.find(name, ANONYMOUS)
    assert str(caught.value) == "The model `acme/support@2` does not exist or you do not have access to it."
    assert caught.value.param == "model"


# -- keys -----------------------------------------------------------------------------------------------------


def lets_in(catalog: Catalog, one: Key) -> bool:
    try:
        now = datetime.now(UTC)
        return catalog.keys.admit(f"Bearer {one.text}", now, stale=False, anonymous=False).id == one.grant.id
    except QuickchangeError:
        return False


def refusal(catalog: Catalog) -> str:
    """Of somebody without a key, on loopback."""
    with pytest.raises(QuickchangeError) as caught:
        catalog.keys.admit(None, CREATED, stale=False, anonymous=True)
    return caught.value.code


async def test_keys_come_and_go_with_the_changes_and_adapters_leave_them_alone(
    registry: FakeRegistry, path: Path
) -> None:
    one, two = key(), key()
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        assert lets_in(catalog, one)
        await registry.put_keys(one.grant, two.grant)
        await until(lambda: lets_in(catalog, two))
        await registry.put(adapter("acme", "support", version(1)))
        await until(lambda: served(catalog, "acme/support") == "acme/support@1")
        assert lets_in(catalog, one)
        await registry.put_keys(two.grant)
        await until(lambda: not lets_in(catalog, one))
        assert lets_in(catalog, two)
        assert registry.calls.count("snapshot") == 1


async def test_a_restart_without_the_registry_knows_the_keys_and_not_the_revoked(
    registry: FakeRegistry, path: Path
) -> None:
    one, two = key(), key()
    await registry.put_keys(one.grant, two.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await registry.put_keys(two.grant)
        await until(lambda: not lets_in(catalog, one))
    again = Catalog(registry, path, BASE)
    assert (lets_in(again, one), lets_in(again, two)) == (False, True)


async def test_the_file_is_its_owners_alone_and_has_no_secret(registry: FakeRegistry, path: Path) -> None:
    one = key()
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await until(path.exists)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert one.grant.secret_hash in path.read_text()
    assert one.text.secret not in path.read_text()


async def test_another_history_brings_its_own_keys(registry: FakeRegistry, path: Path) -> None:
    one, two = key(), key()
    await registry.put_keys(one.grant)
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
    restored = FakeRegistry()
    await restored.put_keys(two.grant)
    async with following(Catalog(restored, path, BASE)) as catalog:
        await until(lambda: lets_in(catalog, two))
        assert not lets_in(catalog, one)


async def test_keys_that_ended_do_not_come_back_with_a_backup(
    registry: FakeRegistry, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, revoked, rotated = key(), key(), key()
    ending = rotated.grant.model_copy(update={"expires_at": CREATED})
    await registry.put_keys(good.grant, revoked.grant, rotated.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: lets_in(catalog, revoked))
        await registry.put_keys(good.grant, ending)
        await until(lambda: not lets_in(catalog, revoked) and not lets_in(catalog, rotated))
    restored = FakeRegistry()
    await restored.put_keys(good.grant, revoked.grant, rotated.grant)
    for _ in range(2):  # the second time as after a restart of the gateway
        async with following(Catalog(restored, path, BASE)) as catalog:
            await until(lambda: catalog.seq == restored.seq)
            assert lets_in(catalog, good)
            assert not lets_in(catalog, revoked)
            assert not lets_in(catalog, rotated)
            assert set(catalog.report().contested) == {revoked.grant.id, rotated.grant.id}
    assert any(revoked.grant.id in getattr(record, "keys_to_revoke_again", "") for record in caplog.records)
    async with following(Catalog(restored, path, BASE)) as catalog:
        await restored.put_keys(good.grant)  # they are revoked again
        await until(lambda: not catalog.report().contested)
        assert lets_in(catalog, good)


async def test_a_key_made_after_the_backup_is_unknown_but_not_ended(registry: FakeRegistry, path: Path) -> None:
    old, young = key(), key()
    await registry.put_keys(old.grant)
    await registry.put_keys(old.grant, young.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: lets_in(catalog, young))
    restored = FakeRegistry()
    await restored.put_keys(old.grant)
    async with following(Catalog(restored, path, BASE)) as catalog:
        await until(lambda: not lets_in(catalog, young))
        await restored.put_keys(old.grant, young.grant)  # a newer backup was found
        await until(lambda: lets_in(catalog, young))


@pytest.mark.parametrize("says", ["nothing at all", "that it has lost them"])
async def test_a_registry_without_its_keys_is_no_answer(
    registry: FakeRegistry, path: Path, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys and adapters known go on, and nobody else is let in, also after a restart and without the snapshot."""
    one, mark = key(), path.parent / "mark"
    await registry.put(adapter("acme", "support"))
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE, KeyMark(mark))) as catalog:
        await until(lambda: lets_in(catalog, one))
    wiped = FakeRegistry()
    wiped.down = None if says == "nothing at all" else KeysLost("The registry has none.")
    async with following(Catalog(wiped, path, BASE, KeyMark(mark))) as catalog:
        await until(lambda: catalog.report().keys_lost)
        assert "lost its keys" in caplog.text
        assert lets_in(catalog, one)
        assert refusal(catalog) == "invalid_key"
        assert served(catalog, "acme/support") == "acme/support@1"
        assert not catalog.report().reachable
    path.unlink()
    async with following(Catalog(wiped, path, BASE, KeyMark(mark))) as catalog:
        await until(lambda: catalog.report().keys_lost)
        assert not catalog.keys.known
        assert refusal(catalog) == "keys_lost"
        wiped.down = None
        await wiped.put_keys(one.grant)  # an operator made a key on the registry's machine
        await until(lambda: lets_in(catalog, one))
        assert not catalog.report().keys_lost
        assert refusal(catalog) == "invalid_key"


async def test_a_registry_that_says_so_marks_a_gateway_that_never_knew(registry: FakeRegistry, path: Path) -> None:
    registry.down = KeysLost("The registry has none.")
    mark = path.parent / "mark"
    async with following(Catalog(registry, path, BASE, KeyMark(mark))) as catalog:
        await until(lambda: catalog.report().keys_lost)
        assert refusal(catalog) == "keys_lost"
    assert KeyMark(mark).is_set


async def test_keys_that_vanish_within_one_history_are_no_answer(registry: FakeRegistry, path: Path) -> None:
    """As when somebody deletes the rows by hand."""
    one = key()
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: lets_in(catalog, one))
        await registry.put_keys()
        await until(lambda: catalog.report().keys_lost)
        assert lets_in(catalog, one)
        assert refusal(catalog) == "invalid_key"


async def test_silence_is_counted_across_a_restart(registry: FakeRegistry, path: Path) -> None:
    await registry.put_keys(key().grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(path.exists)
        await until(lambda: catalog.report().reachable)
        assert catalog.silent_s() < 60
    hours_ago = time.time() - 7200
    os.utime(path, (hours_ago, hours_ago))
    await registry.fail(RegistryUnavailable("down"))
    async with following(Catalog(registry, path, BASE)) as again:
        await until(lambda: len(registry.calls) > 6)
        assert 7200 <= again.silent_s() < 7260
        await registry.fail(None)
        await registry.put(adapter())
        await until(lambda: again.silent_s() < 60)


async def test_the_file_grows_no_younger_while_the_registry_is_down(registry: FakeRegistry, path: Path) -> None:
    await registry.put_keys(key().grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await until(path.exists)
    hours_ago = time.time() - 7200
    os.utime(path, (hours_ago, hours_ago))
    await registry.fail(RegistryUnavailable("down"))
    async with following(Catalog(registry, path, BASE)):
        await until(lambda: len(registry.calls) > 6)
    assert path.stat().st_mtime == pytest.approx(hours_ago, abs=1)


@pytest.mark.parametrize("touches", [0.0, 3600.0])
async def test_a_registry_that_answers_makes_the_file_young_again(
    registry: FakeRegistry, path: Path, monkeypatch: pytest.MonkeyPatch, touches: float
) -> None:
    """At the first answer, and then at most every TOUCH_S."""
    monkeypatch.setattr(catalog_saver, "TOUCH_S", touches)
    await registry.put_keys(key().grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        await until(path.exists)
    hours_ago = time.time() - 7200
    os.utime(path, (hours_ago, hours_ago))

    class Empty(FakeRegistry):
        """Nothing has changed, time after time."""

        async def changes(self, since: int, wait_s: float, head: str | None) -> Changes:
            self.calls.append("changes")
            await asyncio.sleep(0.001)
            return Changes(seq=since, adapters=())

    def young() -> bool:
        return path.stat().st_mtime > hours_ago + 3600

    empty = Empty()
    async with following(Catalog(empty, path, BASE)):
        await until(young)
        os.utime(path, (hours_ago, hours_ago))
        heard = len(empty.calls)
        await until(lambda: len(empty.calls) > heard + 3)
    assert young() == (touches == 0.0)


async def test_what_is_shared_is_used_by_those_it_is_shared_with(registry: FakeRegistry, path: Path) -> None:
    await registry.put(
        adapter("acme", "one", version(1), shared_with=("globex",)),
        adapter("acme", "all", version(1), shared_with=("*",)),
        adapter("acme", "own", version(1)),
    )
    seen = {"acme": ["all", "one", "own"], "globex": ["all", "one"], "initech": ["all"]}
    async with following(Catalog(registry, path, BASE)) as catalog:
        await catalog.loaded()
        for tenant, names in seen.items():
            assert [one.ref.name for one in catalog.list_models(of(tenant))] == names
            for name in ("all", "one", "own"):
                found = served(catalog, f"acme/{name}", of(tenant))
                assert found == (f"acme/{name}@1" if name in names else "model_not_found")
        await registry.put(adapter("acme", "one", version(1)))
        await until(lambda: served(catalog, "acme/one", of("globex")) == "model_not_found")


async def test_quotas_of_tenants_come_and_go_and_outlive_a_restart(registry: FakeRegistry, path: Path) -> None:
    one, quotas = key("acme"), TenantQuotas(name="acme", concurrent=3)

    def of_tenant(catalog: Catalog) -> Quotas | None:
        return catalog.keys.admit(f"Bearer {one.text}", CREATED, stale=False, anonymous=False).tenant_quotas

    registry.tenants = (quotas,)
    await registry.put_keys(one.grant)
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: lets_in(catalog, one))
        assert of_tenant(catalog) == quotas
    await registry.fail(RegistryUnavailable("down"))
    async with following(Catalog(registry, path, BASE)) as catalog:
        assert of_tenant(catalog) == quotas
        registry.tenants = (more := quotas.model_copy(update={"concurrent": 4}),)
        await registry.fail(None)
        await registry.put(adapter("acme", "new"))
        await until(lambda: of_tenant(catalog) == more)
    async with following(Catalog(registry, path, BASE)) as catalog:
        assert of_tenant(catalog) == more
        registry.tenants = ()
        await registry.put(adapter())
        await until(lambda: of_tenant(catalog) is None)


async def test_a_change_is_appended_and_known_after_a_restart(registry: FakeRegistry, path: Path) -> None:
    await registry.put(adapter("acme", "support", version(1)))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: catalog._saver._on_disk == 1)
        whole = path.stat()
        await registry.put(adapter("acme", "other", version(2)))
        await until(lambda: catalog._saver._on_disk == registry.seq)
        assert path.stat().st_ino == whole.st_ino, "the whole was not written"
        await registry.put_keys(key().grant)
        await until(lambda: catalog._saver._on_disk == registry.seq)
    again = Catalog(registry, path, BASE)
    assert (again.seq, served(again, "acme/other")) == (registry.seq, "acme/other@2")
    assert len(again.keys.grants) == 1


async def test_a_file_that_vanished_is_written_whole_at_the_next_change(registry: FakeRegistry, path: Path) -> None:
    await registry.put(adapter("acme", "support", version(1)))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: catalog._saver._on_disk == 1)
        path.unlink()
        await registry.put(adapter("acme", "other", version(2)))
        await until(lambda: catalog._saver._whole)
        await registry.put(adapter("acme", "third", version(3)))
        await until(path.exists)
    assert {"support", "other", "third"} <= {record.name for record in CatalogFile(path).read().adapters}


async def test_models_come_in_pages(registry: FakeRegistry, path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        await registry.put(adapter("acme", name, version(1), shared_with=("globex",) if name == "c" else ()))
    await registry.put(adapter("globex", "own", version(1)))
    async with following(Catalog(registry, path, BASE)) as catalog:
        await until(lambda: catalog.seq == registry.seq)
        page = catalog.list_models(ANONYMOUS, after=("acme", "a"), limit=2)
        assert [one.ref.name for one in page] == ["b", "c"]
        assert [one.ref.name for one in catalog.list_models(ANONYMOUS, after=("acme", "c"))] == ["d", "own"]
        assert [one.ref.name for one in catalog.list_models(of("globex"))] == ["c", "own"]
        assert [one.ref.name for one in catalog.list_models(of("acme"), limit=1)] == ["a"]
