"""Both clients against the real application over a real socket."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from adapters_registry.access import Scope
from adapters_registry.api.app import create_app
from adapters_registry.api.status import render
from adapters_registry.client import AsyncRegistryClient, RegistryClient, UploadState
from adapters_registry.errors import (
    BlobNotFound,
    DigestMismatch,
    GenerationMismatch,
    InvalidKey,
    PickleRefused,
    RegistryUnavailable,
    UnknownFile,
    UnknownParameter,
    UnsupportedField,
)
from adapters_registry.folder import WEIGHTS, describe
from adapters_registry.records import Quotas, TenantBounds
from adapters_registry.registry import Registry
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving
from tests.adapters_registry.flaky import flaky

ACME = ("acme", "support")


@pytest.fixture(params=["sqlite-directory"])
def combination(request: pytest.FixtureRequest) -> str:
    """A client does not see which store it is."""
    name: str = request.param
    return name


def damage(registry: Registry, digest: str, beside: Path) -> None:
    """Other bytes in the store's place of ``digest``."""
    registry.blobs.delete(digest)
    (beside / "damaged").write_bytes(os.urandom(10))
    registry.blobs.put(beside / "damaged", digest, 10)


def test_push_uploads_once_and_tells_what_stays_behind(client, tmp_path):
    path = artifacts.folder(tmp_path / "a", artifacts.config(base_model_name_or_path="org/base"))
    (path / "training_args.bin").write_bytes(b"pickle")
    (path / "ref").mkdir()
    calls: list[tuple[int, int]] = []
    pushed = client.push(path, *ACME, lineage={"seed": 1}, progress=lambda done, total: calls.append((done, total)))
    total = sum(file.size for file in artifacts.files(path))
    assert (pushed.ignored, pushed.trained_on) == (("ref/", "training_args.bin"), "org/base")
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)
    assert (pushed.published.created, pushed.published.record.number) == (True, 1)
    assert not client.push(path, *ACME).published.created
    assert client.version(pushed.published.record.digest).lineage == {"seed": 1}


def test_a_push_refused(client, tmp_path):
    with pytest.raises(UnsupportedField) as caught:
        client.push(artifacts.folder(tmp_path / "a", artifacts.config(use_dora=True)), *ACME)
    assert caught.value.param == "use_dora"


def test_folders_that_are_no_adapter(client, tmp_path):
    with pytest.raises(UnknownFile):
        client.push(tmp_path / "nowhere", *ACME)
    path = artifacts.folder(tmp_path / "a")
    (path / WEIGHTS).rename(path / "adapter_model.bin")
    with pytest.raises(PickleRefused):
        client.push(path, *ACME)
    (path / "adapter_model.bin").unlink()
    with pytest.raises(UnknownFile):
        client.push(path, *ACME)


def test_the_verbs(client, push):
    for fill in (0.1, 0.2, 0.3):
        push(fill=fill)
    assert client.promote(*ACME, 3).generation == 2
    assert client.promote(*ACME, 2, "canary").generation == 1
    assert client.rollback(*ACME).version == 1
    client.delete_alias(*ACME, "canary")
    client.delete_version(*ACME, 2)
    assert [v.number for v in client.adapter(*ACME).versions] == [1, 3]
    assert [a.name for a in client.adapters("acme")] == ["support"]
    client.delete_adapter(*ACME)
    assert list(client.adapters()) == []
    assert [b.name for b in client.bases()] == ["tiny"]


def test_all_pages_are_read(registry, feed, push):
    for number in range(5):
        push(f"acme/a{number}")
    small = registry._limits.model_copy(update={"page": 2})
    registry._limits = small
    with serving(create_app(registry, feed, small)) as url, RegistryClient(url) as client:
        assert [adapter.name for adapter in client.adapters()] == [f"a{number}" for number in range(5)]


def test_an_error_keeps_its_class_and_field(client, push, registry):
    push(fill=0.1)
    with pytest.raises(GenerationMismatch) as caught:
        client._send(
            "PUT", "/v1/adapters/acme/support/aliases/production", json={"version": 1}, headers={"If-Match": "9"}
        )
    assert caught.value.param == "If-Match"


def test_a_blob_is_read_whole_or_not_at_all(client, push, tmp_path, registry):
    digest = push().record.digest
    file = client.version(digest).manifest.file(WEIGHTS)
    assert artifacts.sha256(client.read_blob(file.digest, file.size)) == file.digest
    with pytest.raises(DigestMismatch, match="more than the bytes"):
        client.read_blob(file.digest, file.size - 1)
    with pytest.raises(BlobNotFound):
        client.read_blob(artifacts.sha256(b"nothing"), 1)
    damage(registry, file.digest, tmp_path)
    with pytest.raises(DigestMismatch):
        client.read_blob(file.digest, file.size)


def test_pull_gives_back_what_was_pushed_or_nothing(client, push, tmp_path, registry):
    pushed = artifacts.folder(tmp_path / "pushed", weights=artifacts.pack(artifacts.tensors(0.7)))
    manifest = client.version(push(path=pushed).record.digest).manifest
    target, calls = tmp_path / "out" / "pulled", list[tuple[int, int]]()
    client.pull(manifest, target, progress=lambda done, total: calls.append((done, total)))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        file.path: (pushed / file.path).read_bytes() for file in manifest.files
    }
    total = sum(file.size for file in manifest.files)
    assert calls == sorted(calls)
    assert calls[-1] == (total, total)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        client.pull(manifest, target)
    weights = manifest.file(WEIGHTS).digest
    damage(registry, weights, tmp_path)
    with pytest.raises(DigestMismatch):
        client.pull(manifest, tmp_path / "out" / "damaged")
    registry.blobs.delete(weights)
    with pytest.raises(BlobNotFound):
        client.pull(manifest, tmp_path / "out" / "missing")
    assert os.listdir(target.parent) == ["pulled"]


def test_nobody_there():
    with RegistryClient("http://127.0.0.1:1") as nobody, pytest.raises(RegistryUnavailable, match="does not answer"):
        nobody.adapter(*ACME)


def test_somebody_else_there():
    app = FastAPI()
    with serving(app) as url, RegistryClient(url) as client, pytest.raises(RegistryUnavailable, match="answered 404"):
        client.bases()


async def test_following(url, push):
    async with AsyncRegistryClient(url) as client:
        await client.put_base(artifacts.base())
        before = await client.snapshot()
        watch = asyncio.create_task(client.changes(before.seq, 50))
        await asyncio.sleep(0.1)
        assert not watch.done()
        await asyncio.to_thread(push)
        found = await watch
        assert [a.name for a in found.adapters] == ["support"]
        assert (await client.changes(found.seq, 0)).adapters == ()
        assert (await client.changes(before.seq + 10**9, 50)).reset
        assert before.head != found.head
        assert not (await client.changes(found.seq, 0, found.head)).reset
        assert (await client.changes(found.seq, 50, before.head)).reset
    async with AsyncRegistryClient("http://127.0.0.1:1") as nobody:
        with pytest.raises(RegistryUnavailable):
            await nobody.snapshot()


def test_an_upload_goes_on_by_itself(url, registry, tmp_path):
    """Three times the line breaks; the bytes that came before are not sent again."""
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(900_000))
    file, calls = describe(path), list[int]()
    with flaky(url, [300_000, 300_000, 200_000]) as line, RegistryClient(line.url) as client:
        client.upload(path, file, "acme", calls.append)
        assert client.upload_state(file.digest, "acme") == UploadState(900_000, complete=True)
        assert line.connections >= 4
    with registry.blobs.open(file.digest) as stored:
        assert stored.read() == path.read_bytes()
    assert calls[-1] == 900_000


def test_a_push_goes_on_where_an_earlier_one_ended(client, url, tmp_path, monkeypatch):
    path = artifacts.folder(tmp_path / "a")
    file = describe(path / WEIGHTS)
    client._send(
        "PUT",
        f"/v1/uploads/{file.digest}",
        params={"tenant": "acme"},
        content=(path / WEIGHTS).read_bytes()[:100],
        headers={"upload-complete": "?0"},
    )
    assert client.upload_state(file.digest, "acme") == UploadState(100, complete=False)
    calls: list[tuple[int, int]] = []
    assert client.push(path, *ACME, progress=lambda done, total: calls.append((done, total))).published.created
    assert client.upload_state(file.digest, "acme") == UploadState(file.size, complete=True)


def test_an_upload_that_gets_nowhere_ends(url, tmp_path, monkeypatch):
    monkeypatch.setattr("adapters_registry.client.files._TRIES", 2)
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(900_000))
    head = 400  # a HEAD fits, a file does not
    with flaky(url, [head] * 50) as line, RegistryClient(line.url) as client, pytest.raises(RegistryUnavailable):
        client.upload(path, describe(path), "acme")


def test_bytes_that_changed_meanwhile(client, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    file = describe(path)
    path.write_bytes(b"after!")
    with pytest.raises(DigestMismatch):
        client.upload(path, file, "acme")
    assert client.upload_state(file.digest, "acme") is None


def test_equal_bytes_are_sent_once(client, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    calls: list[int] = []
    client.upload(path, describe(path), "acme", calls.append)
    client.upload(path, describe(path), "acme", calls.append)
    assert calls == [7]
    client.discard_upload(describe(path).digest, "acme")


def test_the_verbs_for_operators(url, client, push, tmp_path):
    """Each call that is not asked above, by an operator and by keys that it makes."""
    push(fill=0.1)
    child = artifacts.folder(tmp_path / "child", weights=artifacts.pack(artifacts.tensors(0.2)))
    parent = client.adapter(*ACME).versions[0].digest
    client.health()
    operator = client.create_key("operator", [Scope.ADMIN])
    with pytest.raises(InvalidKey):
        client.bases()
    with RegistryClient(url, key=operator.key) as ours:
        digest = ours.push(child, *ACME, lineage={"parent": parent}).published.record.digest
        assert [node.digest for node in ours.lineage(digest).nodes] == [parent, digest]
        assert ours.evaluate(*ACME, 2, "quality", True, {"accuracy": 0.5}).actor == operator.record.id
        assert ours.protect_alias(*ACME, "production", requires="quality").protected
        assert ours.move_alias(*ACME, "production", 2, 1).version == 2
        assert ours.resolve(*ACME).digest == digest
        assert ours.share(*ACME, "globex").shared_with == ("globex",)
        assert ours.unshare(*ACME, "globex").shared_with == ()
        assert ours.put_tenant("globex", TenantBounds(max_versions=3)).max_versions == 3
        assert [tenant.name for tenant in ours.tenants()] == ["acme", "globex"]
        assert ours.tenant("acme").used_versions == 2
        assert ours.base(artifacts.base().digest) == artifacts.base()
        reader = ours.create_key("reader", [Scope.ADAPTER_READ], "acme", Quotas(concurrent=1), _later())
        assert ours.key(reader.record.id) == reader.record
        rotated = ours.rotate_key(reader.record.id, 0)
        assert [key.id for key in ours.keys("acme")] == [reader.record.id, rotated.record.id]
        ours.revoke_key(rotated.record.id)
        assert ours.key(rotated.record.id).revoked_at is not None
        assert ours.collect(dry_run=True).blobs == 0
        first = ours.audit(limit=1)
        assert ours.audit(first.next or 0).entries[-1].digest == ours.verify_audit().head
    with RegistryClient(url, key=rotated.key) as revoked, pytest.raises(InvalidKey):
        revoked.page()


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_readers_of_the_first_releases_are_sent_what_they_know(url):
    """They refuse a field that is new to them, and would not hear of a revoked key any more."""
    async with httpx.AsyncClient(base_url=url) as http:
        snapshot = (await http.get("/v1/snapshot")).json()
        assert snapshot.keys() == {"seq", "adapters", "keys"}
        changes = (await http.get("/v1/changes", params={"since": snapshot["seq"]})).json()
        assert changes.keys() == {"seq", "adapters", "keys", "reset"}


async def test_a_registry_of_an_earlier_release_is_followed():
    """It refuses parameters that it does not know."""
    app, asked = FastAPI(), []

    @app.get("/v1/{what}")
    async def old(request: Request, what: str) -> Response:
        asked.append(sorted(request.query_params))
        if {"full", "head"} & request.query_params.keys():
            return render(UnknownParameter("Unknown parameter full.", param="full"))
        return Response('{"seq": 7, "adapters": []}', media_type="application/json")

    with serving(app) as url:
        async with AsyncRegistryClient(url) as client:
            assert (await client.snapshot()).head is None
            assert (await client.changes(6, 0, "sha256:" + "1" * 64)).seq == 7
    assert asked == [["full"], [], ["full", "head", "since", "wait_s"], ["since", "wait_s"]]
