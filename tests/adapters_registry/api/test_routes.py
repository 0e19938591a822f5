"""The plane over HTTP, in process: answers, codes, bounds."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest

from adapters_registry.api.app import create_app
from adapters_registry.blobs import DirectoryBlobs, Staging
from adapters_registry.blobs.disk import Disk
from adapters_registry.database import open_sqlite
from adapters_registry.feed import Feed
from adapters_registry.folder import CONFIG, WEIGHTS
from adapters_registry.metadata import Metadata
from adapters_registry.registry import Registry
from tests.adapters_registry import artifacts
from tests.adapters_registry.api.world import plane_of
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.conftest import LIMITS
from tests.waiting import until

DATA = b"weights" * 1000
SUPPORT = "/v1/adapters/acme/support"
JSON = {"content-type": "application/json"}


def code(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


def put(digest: str) -> str:
    return f"/v1/uploads/{digest}?tenant=acme"


def tree(path: Path) -> list[str]:
    """The files under ``path``."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


async def commit(http: httpx.AsyncClient, path: Any, **extra: Any) -> httpx.Response:
    """Upload and commit the folder at ``path``."""
    for file in artifacts.files(path):
        await http.put(put(file.digest), content=(path / file.path).read_bytes())
    body = {"files": [file.model_dump() for file in artifacts.files(path)], **extra}
    return await http.post(f"{SUPPORT}/versions", json=body)


async def test_upload_look_fetch(http):
    digest = sha256(DATA)
    assert (await http.head(put(digest))).status_code == 404
    first = await http.put(put(digest), content=DATA)
    assert (first.status_code, first.json()) == (201, {"digest": digest, "size": len(DATA), "complete": True})
    assert (await http.put(put(digest.removeprefix("sha256:")), content=DATA)).status_code == 200
    found = (await http.head(put(digest))).headers
    told = found["upload-offset"], found["upload-complete"], found["upload-length"]
    assert told == (str(len(DATA)), "?1", str(len(DATA)))
    blob = await http.get(f"/v1/blobs/{digest}")
    assert (blob.content, blob.headers["content-length"]) == (DATA, str(len(DATA)))
    assert code(await http.get(f"/v1/blobs/{sha256(b'')}")) == (404, "blob_not_found", "digest")


async def test_bad_uploads_leave_nothing(http, tmp_path):
    assert code(await http.put(put(sha256(b"")), content=DATA)) == (422, "digest_mismatch", "digest")
    assert code(await http.put(put("sha256:XYZ"), content=DATA)) == (400, "invalid_value", "sha256")
    large = b"x" * (LIMITS.upload_bytes + 1)
    assert code(await http.put(put(sha256(large)), content=large)) == (413, "body_too_large", None)

    async def pieces() -> AsyncIterator[bytes]:
        yield large[:-1]
        yield large[-1:]

    assert code(await http.put(put(sha256(large)), content=pieces())) == (413, "body_too_large", None)
    assert tree(tmp_path / "staging") == []


class FullDisk(Disk):
    """Writes half of what it is given, and fails."""

    code = errno.ENOSPC

    def write(self, file: BinaryIO, data: bytes) -> None:
        super().write(file, data[: len(data) // 2])
        raise OSError(self.code, "as the test wants it")


async def test_a_full_disk(tmp_path):
    disk, metadata = FullDisk(), Metadata(open_sqlite(tmp_path / "r.db"))
    staging = Staging(tmp_path / "staging", LIMITS, disk)
    registry = Registry(metadata, DirectoryBlobs(tmp_path / "blobs"), staging, LIMITS)
    app = create_app(registry, Feed(), LIMITS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        answer = await http.put(put(sha256(DATA)), content=DATA)
        assert code(answer) == (507, "storage_full", None)
        assert answer.headers["retry-after"] == "30"
        assert tree(tmp_path / "staging") == []
        disk.code = errno.EIO
        assert code(await http.put(put(sha256(DATA)), content=DATA)) == (503, "storage_failed", None)
        assert tree(tmp_path / "staging") == []
        assert (await http.get("/health")).status_code == 200
    metadata.close()


@pytest.mark.parametrize("app", [{"patience_s": 0.1}], indirect=True)
async def test_too_many_uploads_at_once(http, app):
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await gate.wait()
        yield DATA

    held = [asyncio.create_task(http.put(put(sha256(DATA)), content=slow())) for _ in range(LIMITS.uploads)]
    await until(lambda: plane_of(app).receiving.shares.used == LIMITS.uploads)
    assert code(await http.put(put(sha256(DATA)), content=DATA)) == (429, "overloaded", None)
    gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*held)} <= {200, 201}
    assert (await http.put(put(sha256(DATA)), content=DATA)).status_code == 200


async def test_commit_and_read(http, tmp_path):
    path = artifacts.folder(tmp_path / "a")
    first = await commit(http, path, lineage={"seed": 1})
    assert first.status_code == 201
    published = first.json()
    assert published["created"]
    assert published["aliases"] == [
        {
            "alias": "production",
            "version": 1,
            "digest": published["record"]["digest"],
            "generation": 1,
            "protected": False,
            "requires": None,
        }
    ]
    assert (await commit(http, path)).status_code == 200
    adapter = (await http.get(SUPPORT)).json()
    assert [v["number"] for v in adapter["versions"]] == [1]
    assert (await http.get("/v1/adapters", params={"tenant": "acme"})).json() == {"adapters": [adapter], "next": None}
    detail = (await http.get(f"/v1/versions/{published['record']['digest']}")).json()
    assert detail["manifest"]["files"][0]["path"] == CONFIG
    assert detail["lineage"] == {"seed": 1}
    snapshot = (await http.get("/v1/snapshot")).json()
    assert snapshot["adapters"] == [adapter]


async def test_refused_commits(http, tmp_path):
    broken = artifacts.folder(tmp_path / "a", artifacts.config(use_dora=True))
    answer = await commit(http, broken)
    assert code(answer) == (422, "unsupported_field", "use_dora")
    assert answer.headers["x-should-retry"] == "false"
    assert code(await http.get(SUPPORT)) == (404, "adapter_not_found", "name")
    assert code(await commit(http, broken, base="nope")) == (404, "base_not_found", "base")
    assert code(await commit(http, broken, lineage={"x": "y" * 200})) == (413, "body_too_large", "lineage")


FILE = {"path": WEIGHTS, "digest": sha256(b""), "size": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"files": [FILE], "extra": 1}, (400, "unknown_parameter", "extra")),
        ({"files": [FILE | {"mode": 7}]}, (400, "unknown_parameter", "files.0.mode")),
        ({}, (400, "invalid_value", "files")),
        ({"files": []}, (400, "invalid_value", "files")),
        ({"files": [FILE] * 17}, (400, "invalid_value", "files")),
        ({"files": [FILE | {"path": "../x"}]}, (400, "invalid_value", "files.0.path")),
        ({"files": [FILE | {"path": "ref/x"}]}, (400, "invalid_value", "files.0.path")),
        ({"files": [FILE | {"digest": "x"}]}, (400, "invalid_value", "files.0.digest")),
        ({"files": [FILE | {"size": "1"}]}, (400, "invalid_value", "files.0.size")),
        ({"files": [FILE | {"size": -1}]}, (400, "invalid_value", "files.0.size")),
        ({"files": [FILE], "promote": 1}, (400, "invalid_value", "promote")),
        ({"files": [FILE], "lineage": []}, (400, "invalid_value", "lineage")),
        ([], (400, "invalid_value", None)),
    ],
)
async def test_malformed_commits(http, body, expected):
    assert code(await http.post(f"{SUPPORT}/versions", json=body)) == expected


@pytest.mark.parametrize("content", [b"", b"{", b'{"files": "\\ud800"}', b"\xff", b"[" * 10_000])
async def test_bodies_that_are_not_json(http, content):
    answer = await http.post(f"{SUPPORT}/versions", content=content, headers=JSON)
    assert code(answer)[:2] == (400, "invalid_value")


async def test_bodies_are_bounded(http):
    large = b" " * (LIMITS.commit_bytes + 1)
    answer = await http.post(f"{SUPPORT}/versions", content=large, headers=JSON)
    assert code(answer) == (413, "body_too_large", None)


async def test_names_in_paths(http):
    for path in (
        "/v1/adapters/Acme/x",
        "/v1/adapters/acme/%2e%2e%2f",
        "/v1/adapters/acme/x%0a",
        f"/v1/adapters/a/{'x' * 64}",
    ):
        answer = await http.get(path)
        assert answer.status_code in (400, 404)
        assert "code" in answer.json()["error"]


async def test_unknown_routes_and_methods(http):
    assert code(await http.get("/v1/nothing")) == (404, "not_found", None)
    answer = await http.post("/v1/snapshot")
    assert code(answer) == (405, "method_not_allowed", None)
    assert answer.headers["allow"] == "GET"


async def test_aliases(http, push):
    push(fill=0.1)
    push(fill=0.2)
    alias = f"{SUPPORT}/aliases/production"
    assert (await http.get(alias)).headers["etag"] == '"1"'
    assert code(await http.put(alias, json={"version": 2})) == (428, "generation_required", "If-Match")
    assert code(await http.put(alias, json={"version": 2}, headers={"if-match": "x"})) == (
        400,
        "invalid_value",
        "If-Match",
    )
    moved = await http.put(alias, json={"version": 2}, headers={"if-match": '"1"'})
    assert (moved.status_code, moved.json()["version"], moved.headers["etag"]) == (200, 2, '"2"')
    assert code(await http.put(alias, json={"version": 1}, headers={"if-match": '"1"'})) == (
        412,
        "generation_mismatch",
        "If-Match",
    )
    assert code(await http.put(alias, json={"version": 9}, headers={"if-match": "2"}))[:2] == (
        404,
        "version_not_found",
    )
    for wrong in (True, 0, 1 << 40, "x", 1.5):
        assert code(await http.put(alias, json={"version": wrong}, headers={"if-match": "2"}))[0] == 400
    assert (await http.post(f"{alias}/rollback")).json()["version"] == 1
    assert code(await http.post(f"{alias}/rollback")) == (409, "no_previous_version", "alias")
    assert code(await http.put(f"{SUPPORT}/aliases/12", json={"version": 1})) == (400, "invalid_value", "alias")
    assert code(await http.delete(f"{SUPPORT}/aliases/canary")) == (404, "alias_not_found", "alias")


async def test_deletes(http, push):
    digest = push(fill=0.1).record.digest
    assert code(await http.delete(f"{SUPPORT}/versions/1")) == (409, "alias_in_use", "version")
    assert (await http.delete(f"{SUPPORT}/aliases/production")).status_code == 204
    assert (await http.delete(f"{SUPPORT}/versions/1")).status_code == 204
    assert code(await http.get(f"/v1/versions/{digest}")) == (410, "version_deleted", "digest")
    assert code(await http.delete(f"{SUPPORT}/versions/1")) == (410, "version_deleted", "version")
    assert (await http.delete(SUPPORT)).status_code == 204
    assert code(await http.delete(SUPPORT)) == (404, "adapter_not_found", "name")


async def test_bases(http):
    base = artifacts.base("second", "2")
    path = f"/v1/bases/{base.digest}"
    assert code(await http.get(path)) == (404, "base_not_found", "base")
    assert (await http.put(path, content=base.model_dump_json())).status_code == 204
    assert (await http.get(path)).json() == base.model_dump()
    assert [b["name"] for b in (await http.get("/v1/bases")).json()["bases"]] == ["second", "tiny"]
    other = f"/v1/bases/{sha256(b'')}"
    assert code(await http.put(other, content=base.model_dump_json())) == (400, "invalid_value", "digest")


async def test_changes_wait_for_a_commit(http, app, push):
    seq = (await http.get("/v1/snapshot")).json()["seq"]
    at_once = await http.get("/v1/changes", params={"since": seq})
    assert at_once.json() == {"seq": seq, "adapters": [], "keys": None, "reset": False}
    waiting = asyncio.create_task(http.get("/v1/changes", params={"since": seq, "wait_s": 50}))
    await until(lambda: plane_of(app).watchers.used)
    assert not waiting.done()
    await asyncio.to_thread(push)
    found = (await waiting).json()
    assert [a["name"] for a in found["adapters"]] == ["support"]
    assert found["seq"] > seq
    assert (await http.get("/v1/changes", params={"since": seq + 10**6})).json()["reset"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"since": -1},
        {"since": "x"},
        {"since": 1 << 60},
        {"since": 0, "wait_s": "nan"},
        {"since": 0, "wait_s": -1},
    ],
)
async def test_malformed_watches(http, params):
    assert code(await http.get("/v1/changes", params=params))[:2] == (400, "invalid_value")


async def test_too_many_watchers_and_an_end_to_all(http, app, feed: Feed, push: Callable[..., Any]):
    seq = (await http.get("/v1/snapshot")).json()["seq"]
    params = {"since": seq, "wait_s": 50}
    held = [asyncio.create_task(http.get("/v1/changes", params=params)) for _ in range(LIMITS.watchers)]
    await until(lambda: plane_of(app).watchers.used == LIMITS.watchers)
    assert code(await http.get("/v1/changes", params=params)) == (429, "overloaded", None)
    feed.close()
    assert {answer.json()["seq"] for answer in await asyncio.gather(*held)} == {seq}


async def test_a_defect_answers_in_the_same_shape(app, http):
    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError

    answer = await http.get("/defect", headers={"x-request-id": "mine"})
    assert code(answer) == (500, "internal_error", None)
    assert answer.headers["x-request-id"] == "mine"
