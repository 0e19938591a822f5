"""Both clients against the real application over a real socket."""

from __future__ import annotations

import asyncio
import os

import pytest
from fastapi import FastAPI

from adapters_registry.api.app import create_app
from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.errors import (
    BlobNotFound,
    DigestMismatch,
    GenerationMismatch,
    PickleRefused,
    RegistryUnavailable,
    UnknownFile,
    UnsupportedField,
)
from adapters_registry.folder import WEIGHTS, describe
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

ACME = ("acme", "support")


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


def test_fetch_writes_the_whole_blob_or_nothing(client, push, tmp_path, registry):
    digest = push().record.digest
    file = client.version(digest).manifest.file(WEIGHTS)
    target = tmp_path / "out" / "w"
    target.parent.mkdir()
    client.fetch_blob(file.digest, target)
    assert describe(target).digest == file.digest
    with pytest.raises(BlobNotFound):
        client.fetch_blob(artifacts.sha256(b"nothing"), tmp_path / "out" / "x")
    stored = registry.blobs._path(file.digest)
    stored.write_bytes(os.urandom(file.size))
    with pytest.raises(DigestMismatch):
        client.fetch_blob(file.digest, tmp_path / "out" / "y")
    assert os.listdir(target.parent) == ["w"]


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
    stored = registry.blobs._path(manifest.file(WEIGHTS).digest)
    stored.write_bytes(os.urandom(manifest.file(WEIGHTS).size))
    with pytest.raises(DigestMismatch):
        client.pull(manifest, tmp_path / "out" / "damaged")
    stored.unlink()
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
        await client.put_base(artifacts.base("second", "2"))
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
    async with AsyncRegistryClient("http://127.0.0.1:1") as nobody:
        with pytest.raises(RegistryUnavailable):
            await nobody.snapshot()
