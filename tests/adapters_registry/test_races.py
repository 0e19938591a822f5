"""Many equal requests at once over HTTP, at one process, on each combination of database and bytes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from adapters_registry.api.app import create_app
from adapters_registry.folder import describe
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

MANY = 50
VERSIONS = "/v1/adapters/acme/support/versions"
ALIAS = "/v1/adapters/acme/support/aliases/production"


@pytest.fixture
def http(registry, feed) -> Iterator[httpx.Client]:
    """With room for all of them at once."""
    with serving(create_app(registry, feed, Limits(uploads=2 * MANY))) as url:
        limits = httpx.Limits(max_connections=2 * MANY)
        with httpx.Client(base_url=url, timeout=120, trust_env=False, limits=limits) as client:
            yield client


def at_once(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers of ``calls``, begun together."""
    barrier = threading.Barrier(len(calls))

    def call(which: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait()
        return which()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def put(http: httpx.Client, data: bytes) -> httpx.Response:
    path = f"/v1/uploads/{artifacts.sha256(data)}"
    return http.put(path, params={"tenant": "acme"}, content=data)


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_equal_uploads_and_commits_make_one_version(http, registry, tmp_path):
    folder = artifacts.folder(tmp_path / "adapter")
    files = [describe(folder / name) for name in ("adapter_config.json", "adapter_model.safetensors")]
    for file in files:
        data = (folder / file.path).read_bytes()
        found = statuses(at_once([lambda data=data: put(http, data)] * MANY))
        assert found.keys() <= {200, 201}, found
        assert found[201] >= 1
    assert sorted(blob.digest for blob in registry.blobs.stored()) == sorted(file.digest for file in files)
    assert registry.staging.bytes == 0
    body = {"files": [file.model_dump() for file in files]}
    answers = at_once([lambda: http.post(VERSIONS, json=body)] * MANY)
    assert statuses(answers) == {201: 1, 200: MANY - 1}
    assert {answer.json()["record"]["number"] for answer in answers} == {1}
    assert len({answer.json()["record"]["digest"] for answer in answers}) == 1
    (alias,) = registry.adapter("acme", "support").aliases
    assert (alias.alias, alias.version, alias.generation) == ("production", 1, 1)
    assert len([entry for entry in registry.audit().entries if entry.action == "version.publish"]) == 1


def test_of_equal_moves_one_wins(http, registry, push):
    for number in range(3):
        push(fill=(number + 1) / 8)
    moves = [
        lambda version=2 + number % 2: http.put(ALIAS, json={"version": version}, headers={"if-match": '"1"'})
        for number in range(MANY)
    ]
    answers = at_once(moves)
    assert statuses(answers) == {200: 1, 412: MANY - 1}
    (winner,) = [answer for answer in answers if answer.is_success]
    alias = registry.resolve("acme", "support", "production")
    assert (alias.version, alias.generation) == (winner.json()["version"], 2)
    assert winner.headers["etag"] == '"2"'


def test_of_equal_continuations_one_goes_on(http, registry):
    """The others are told where it stands now, or find the bytes whole."""
    data = bytes(range(256)) * 100
    path, half = f"/v1/uploads/{artifacts.sha256(data)}", len(data) // 2
    first = http.put(path, params={"tenant": "acme"}, content=data[:half], headers={"upload-complete": "?0"})
    assert first.status_code == 202
    headers = {
        "content-type": "application/partial-upload",
        "upload-offset": str(half),
        "upload-complete": "?1",
    }
    rest = data[half:]
    answers = at_once([lambda: http.patch(path, params={"tenant": "acme"}, content=rest, headers=headers)] * MANY)
    assert statuses(answers) == {201: 1, 409: MANY - 1}
    assert registry.blobs.size(artifacts.sha256(data)) == len(data)
    assert registry.staging.bytes == 0


def test_uploads_and_the_collector_at_once_lose_nothing_acknowledged(http, registry):
    """Whoever was told that the bytes are there finds them, however often they are collected meanwhile."""
    data = [b"%d" % number * 1000 for number in range(8)]
    over = threading.Event()

    def collect() -> int:
        runs = 0
        while not over.is_set():
            registry.collect(grace_s=0)
            runs += 1
        return runs

    def one(number: int) -> int:
        mine = data[number % len(data)]
        answer = put(http, mine)
        if answer.status_code == 503:
            assert "deleted while it was stored" in answer.text
            return 503
        assert answer.status_code in (200, 201)
        with registry.blobs.open(artifacts.sha256(mine)) as file:
            assert file.read() == mine
        with registry.metadata.writing() as rows:  # nobody holds it any more: the next collection may take it
            tenant = rows.tenant_id("acme")
            assert tenant is not None
            if number % 3 == 0:
                rows.blobs.end_leases(tenant, [artifacts.sha256(mine)])
        return answer.status_code

    with ThreadPoolExecutor(9) as pool:
        collector = pool.submit(collect)
        try:
            found = Counter(pool.map(one, range(120)))
        finally:
            over.set()
    assert collector.result() > 0
    assert found[200] + found[201] > 0
