"""Uploads over real sockets: broken off and continued, at once, too large, and not what they say."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from adapters_registry.api.app import create_app
from adapters_registry.api.parts import PARTIAL_TYPE
from adapters_registry.blobs import DirectoryBlobs
from adapters_registry.records import TenantBounds
from adapters_registry.registry import Registry
from tests.adapters_registry.api.test_routes import code, tree
from tests.adapters_registry.api.world import TENANT_SCOPES, World, bearer
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.conftest import LIMITS, serving

DATA = os.urandom(300_000)
DIGEST = sha256(DATA)
AT = f"/v1/uploads/{DIGEST}?tenant=acme"


@pytest.fixture
def web(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


def part(web: httpx.Client, offset: int, data: bytes, complete: bool, at: str = AT, **extra: str) -> httpx.Response:
    told = {"upload-offset": str(offset), "upload-complete": f"?{int(complete)}", "content-type": PARTIAL_TYPE}
    return web.patch(at, content=data, headers=told | {name.replace("_", "-"): v for name, v in extra.items()})


def state(web: httpx.Client, at: str = AT) -> tuple[int, str] | None:
    answer = web.head(at)
    if answer.status_code == 404:
        return None
    return int(answer.headers["upload-offset"]), answer.headers["upload-complete"]


def break_off(web: httpx.Client, data: bytes, announced: int) -> int:
    """PUTs whose connections end after ``data``, until one of them left something: how much.

    What the server had not read when it saw the end is lost to it.
    """
    head = f"PUT {AT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {announced}\r\n\r\n".encode()
    while True:
        with socket.create_connection((web.base_url.host, web.base_url.port)) as line:
            line.sendall(head + data)
        for _ in range(100):
            found = state(web)
            if found is not None:
                assert found[1] == "?0"
                return found[0]
            time.sleep(0.01)


def test_a_broken_upload_goes_on_where_it_broke_off(web, tmp_path):
    there = break_off(web, DATA[:100_000], len(DATA))
    assert 0 < there <= 100_000
    for wrong in (0, there - 1, there + 1):
        answer = part(web, wrong, DATA[wrong:], complete=True)
        assert code(answer) == (409, "offset_mismatch", "Upload-Offset")
        assert answer.headers["upload-offset"] == str(there)
    more = part(web, there, DATA[there:200_000], complete=False)
    assert (more.status_code, more.json()) == (202, {"digest": DIGEST, "size": 200_000, "complete": False})
    last = part(web, 200_000, DATA[200_000:], complete=True)
    assert (last.status_code, last.json()) == (201, {"digest": DIGEST, "size": len(DATA), "complete": True})
    assert state(web) == (len(DATA), "?1")
    assert web.get(f"/v1/blobs/{DIGEST}").content == DATA
    assert tree(tmp_path / "staging") == []


def test_parts_of_which_the_first_is_a_put(web):
    first = web.put(AT, content=DATA[:10], headers={"upload-complete": "?0", "upload-length": str(len(DATA))})
    assert (first.status_code, first.headers["upload-offset"], first.headers["upload-complete"]) == (202, "10", "?0")
    assert web.head(AT).headers["upload-length"] == str(len(DATA))
    assert part(web, 10, DATA[10:], complete=False).status_code == 202
    assert part(web, len(DATA), b"", complete=True).status_code == 201


def test_an_empty_file(web):
    at = f"/v1/uploads/{sha256(b'')}?tenant=acme"
    assert web.put(at, content=b"").status_code == 201
    assert state(web, at) == (0, "?1")


def test_a_put_begins_again(web, tmp_path):
    break_off(web, DATA[:100_000], len(DATA))
    assert web.put(AT, content=DATA).status_code == 201
    assert tree(tmp_path / "staging") == []


def test_wrong_bytes_leave_nothing(web, tmp_path):
    assert part(web, 0, DATA[:-1], complete=False).status_code == 202
    assert code(part(web, len(DATA) - 1, bytes([DATA[-1] ^ 1]), complete=True)) == (422, "digest_mismatch", "digest")
    assert (state(web), tree(tmp_path / "staging")) == (None, [])


def test_one_that_nobody_wants_any_more(web, tmp_path):
    assert part(web, 0, DATA[:10], complete=False).status_code == 202
    assert web.delete(AT).status_code == 204
    assert (state(web), tree(tmp_path / "staging")) == (None, [])
    assert web.delete(AT).status_code == 204


async def test_fifty_equal_uploads_at_once(registry, feed, tmp_path):
    app = create_app(registry, feed, LIMITS.model_copy(update={"uploads": 50}))
    with serving(app) as url:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as web:
            answers = await asyncio.gather(*(web.put(AT, content=DATA) for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert {answer.json()["size"] for answer in answers} == {len(DATA)}
    with registry.blobs.open(DIGEST) as stored:
        assert stored.read() == DATA
    assert tree(tmp_path / "staging") == []


class SlowBlobs(DirectoryBlobs):
    """Keeps nothing before it may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may = threading.Event()
        self.waiting = 0

    def put(self, staged: Path, digest: str, size: int) -> bool:
        self.waiting += 1
        self.may.wait()
        return super().put(staged, digest, size)


async def test_a_slow_store_leaves_threads_to_answer(registry, feed, tmp_path):
    limits = LIMITS.model_copy(update={"uploads": 12})
    slow = SlowBlobs(tmp_path / "slow")
    app = create_app(Registry(registry.metadata, slow, registry.staging, limits), feed, limits)
    with serving(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as web:
            held = [asyncio.create_task(web.put(AT, content=DATA)) for _ in range(limits.uploads)]
            try:
                while slow.waiting < limits.uploads:
                    await asyncio.sleep(0.01)
                assert (await web.get("/health")).status_code == 200
                assert not any(task.done() for task in held)
            finally:
                slow.may.set()
            assert {answer.status_code for answer in await asyncio.gather(*held)} <= {200, 201}


def test_over_the_size(web, tmp_path):
    bound = LIMITS.upload_bytes
    large = bytes(bound + 1)

    def unannounced() -> Iterator[bytes]:
        yield large[:10]
        yield large[10:]

    for answer in (
        web.put(AT, content=large),
        web.put(AT, content=unannounced()),
        web.put(AT, content=b"", headers={"upload-length": str(bound + 1)}),
        part(web, bound, b"xx", complete=False),
        part(web, bound + 1, b"", complete=False),
    ):
        assert code(answer)[:2] == (413, "body_too_large")
    assert tree(tmp_path / "staging") == []


def test_over_the_quota(web, registry, tmp_path):
    registry.put_tenant("acme", TenantBounds(max_bytes=len(DATA) - 1))

    def unannounced() -> Iterator[bytes]:
        yield DATA

    for answer in (
        web.put(AT, content=DATA),
        web.put(AT, content=unannounced()),
        part(web, 0, DATA[:10], complete=False, upload_length=str(len(DATA))),
    ):
        assert code(answer)[:2] == (403, "quota_exceeded")
    assert (state(web), tree(tmp_path / "staging")) == (None, [])
    registry.put_tenant("acme", TenantBounds(max_bytes=len(DATA)))
    assert web.put(AT, content=DATA).status_code == 201
    assert registry.tenant("acme").used_bytes == len(DATA)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("PUT", {"upload-offset": "5"}, (400, "invalid_value", "Upload-Offset")),
        ("PUT", {"upload-offset": "x"}, (400, "invalid_value", "Upload-Offset")),
        ("PUT", {"upload-complete": "yes"}, (400, "invalid_value", "Upload-Complete")),
        ("PUT", {"upload-length": "-1"}, (400, "invalid_value", "Upload-Length")),
        ("PUT", {"upload-length": "1"}, (400, "invalid_value", "Upload-Length")),
        ("PATCH", {}, (415, "unsupported_media_type", "Content-Type")),
        ("PATCH", {"content-type": PARTIAL_TYPE}, (400, "invalid_value", "Upload-Offset")),
        ("PATCH", {"content-type": PARTIAL_TYPE, "upload-offset": "0"}, (400, "invalid_value", "Upload-Complete")),
    ],
)
def test_headers_that_say_no_part(web, method, headers, expected):
    assert code(web.request(method, AT, content=b"1234", headers=headers)) == expected


def test_another_length_than_was_told(web):
    assert part(web, 0, DATA[:10], complete=False, upload_length="100").status_code == 202
    other = part(web, 10, DATA[10:20], complete=False, upload_length="99")
    assert code(other) == (400, "invalid_value", "Upload-Length")
    assert code(part(web, 10, DATA[10:20], complete=True)) == (400, "truncated_upload", None)
    assert state(web) == (20, "?0")


def test_tenants_do_not_meet(url, web, world: World):
    """Neither what is under way nor what is stored tells a tenant of another's bytes."""
    theirs = bearer(world.keys.create("acme", "theirs", TENANT_SCOPES))
    mine = bearer(world.keys.create("globex", "mine", TENANT_SCOPES))
    at = AT.partition("?")[0]
    assert web.put(at, content=DATA[:10], headers=theirs | {"upload-complete": "?0"}).status_code == 202
    assert web.head(at, headers=theirs).headers["upload-offset"] == "10"
    assert web.head(at, headers=mine).status_code == 404
    assert web.put(at, content=DATA, headers=theirs).status_code == 201
    assert web.head(at, headers=mine).status_code == 404
    assert web.put(at, content=DATA, headers=mine).status_code == 201
    assert web.put(at, content=DATA, headers=mine).status_code == 200


def test_whose_it_is_by_default(web, registry, world: World):
    at = AT.partition("?")[0]
    assert web.put(at, content=DATA, headers=bearer(world.operator)).status_code == 201
    assert [registry.holds(tenant, DIGEST) for tenant in ("default", "acme")] == [True, False]


def test_a_stranger_sends_nothing(url, tmp_path, world: World):
    """Whoever has no key is told so before the body was read."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as line:
        line.sendall(f"PUT {AT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {1 << 19}\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 401 ")
    assert tree(tmp_path / "staging") == []
