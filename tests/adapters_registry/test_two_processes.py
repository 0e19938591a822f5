"""Two registry processes on one PostgreSQL and one store of bytes behave as one."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.errors import RegistryUnavailable
from tests.adapters_registry import artifacts
from tests.adapters_registry.servers import PostgreSQL, S3Server

pytestmark = pytest.mark.acceptance
MANY = 20
START_S = 60.0
T = TypeVar("T")


class Process:
    """One registry, with a data directory and a port of its own."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = RegistryClient(self.url, timeout_s=120)
        command = [sys.executable, "-m", "adapters_registry", "--data-dir", str(directory), "--port", str(port)]
        self._running = subprocess.Popen(command, env=os.environ | environment)

    def await_answer(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            assert self._running.poll() is None, "it ended: see its log above"
            try:
                assert httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()


@contextmanager
def registries(postgresql: PostgreSQL, s3: S3Server, root: Path) -> Iterator[Callable[[str], Process]]:
    """Starts a registry on data directory ``name``; all of them share an empty database and the bytes."""
    database = postgresql.make()
    environment = s3.environment | {
        "QUICKCHANGE_REGISTRY_DATABASE_URL": postgresql.url(database),
        "QUICKCHANGE_REGISTRY_BLOBS_URL": s3.url(secrets.token_hex(8)),
        "QUICKCHANGE_REGISTRY_LIMITS__UPLOADS": str(2 * MANY),
        "QUICKCHANGE_REGISTRY_LIMITS__PATIENCE_S": "120",  # on a slow machine MANY commits of one tenant take long
    }
    with ExitStack() as stack:
        stack.callback(postgresql.drop, database)

        def start(name: str) -> Process:
            process = Process(root / name, environment)
            stack.callback(process.kill)
            stack.callback(process.client._http.close)
            return process

        yield start


def started(start: Callable[[str], Process]) -> tuple[Process, Process]:
    """Two, started at the same moment."""
    processes = start("a"), start("b")
    for process in processes:
        process.await_answer()
    processes[0].client.put_base(artifacts.base())
    return processes


@pytest.fixture(scope="module")
def pair(postgresql, s3, tmp_path_factory) -> Iterator[tuple[Process, Process]]:
    """Of all tests that end neither of them."""
    with registries(postgresql, s3, tmp_path_factory.mktemp("pair")) as start:
        yield started(start)


@pytest.fixture
def adapter(request) -> tuple[str, str]:
    """A tenant of this test alone and its adapter."""
    return request.node.originalname.replace("_", "-")[:60].strip("-"), "support"


@pytest.fixture
def folder(tmp_path) -> Callable[[], Path]:
    """An adapter unlike those before."""
    numbers = itertools.count(1)

    def make() -> Path:
        number = next(numbers)
        weights = artifacts.pack(artifacts.tensors(number / 256))
        return artifacts.folder(tmp_path / f"adapter-{number}", weights=weights)

    return make


def at_once(calls: list[Callable[[], T]]) -> list[T]:
    """The results of ``calls``, begun together."""
    barrier = threading.Barrier(len(calls))

    def call(which: Callable[[], T]) -> T:
        barrier.wait()
        return which()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_equal_pushes_make_one_version(pair, adapter, folder):
    path = folder()
    results = at_once(
        [lambda p=p: p.client.push(path, *adapter).published for p in itertools.islice(itertools.cycle(pair), MANY)]
    )
    assert Counter(result.created for result in results) == {True: 1, False: MANY - 1}
    assert {(result.record.number, result.record.digest) for result in results} == {(1, results[0].record.digest)}
    for process in pair:
        found = process.client.adapter(*adapter)
        assert [version.number for version in found.versions] == [1]
        assert [(alias.alias, alias.generation) for alias in found.aliases] == [("production", 1)]


def test_of_equal_moves_one_wins(pair, adapter, folder):
    for _ in range(3):
        pair[0].client.push(folder(), *adapter)

    def move(number: int) -> int:
        url = f"{pair[number % 2].url}/v1/adapters/{'/'.join(adapter)}/aliases/production"
        version = 2 + number // 2 % 2  # each process is asked for both
        return httpx.put(
            url, json={"version": version}, headers={"if-match": '"1"'}, timeout=120, trust_env=False
        ).status_code

    statuses = at_once([lambda number=number: move(number) for number in range(MANY)])
    assert Counter(statuses) == {200: 1, 412: MANY - 1}
    first, second = (process.client.adapter(*adapter).aliases for process in pair)
    assert first == second
    assert first[0].generation == 2


def test_what_one_was_told_the_other_knows_at_once(pair, adapter, folder, tmp_path):
    one, other = pair
    for number in range(1, 6):
        path = folder()
        pushed = one.client.push(path, *adapter, promote=True).published
        found = other.client.adapter(*adapter)
        assert [version.number for version in found.versions] == list(range(1, number + 1))
        assert (found.aliases[0].version, found.aliases[0].digest) == (number, pushed.record.digest)
        assert [a.name for a in other.client.adapters(adapter[0])] == ["support"]
        pulled = tmp_path / f"pulled-{number}"
        other.client.pull(other.client.version(pushed.record.digest).manifest, pulled)
        for file in pulled.iterdir():
            assert file.read_bytes() == (path / file.name).read_bytes()
        one, other = other, one


async def test_a_change_at_one_wakes_who_waits_at_the_other(pair, adapter, folder):
    one, other = pair
    async with AsyncRegistryClient(other.url) as follower:
        for _ in range(3):
            seq = (await follower.snapshot()).seq
            waiting = asyncio.create_task(follower.changes(seq, wait_s=50))
            await asyncio.sleep(0.3)  # time for the wait to begin; none is needed for the answer to be right
            assert not waiting.done()
            path = folder()
            await asyncio.to_thread(one.client.push, path, *adapter)
            told = time.monotonic()
            found = await waiting
            print(f"told by the other {1000 * (time.monotonic() - told):.0f} ms after the acknowledgement")
            assert time.monotonic() - told < 10, "it waited for its time to end, not for the change"
            assert [(changed.tenant, changed.name) for changed in found.adapters] == [adapter]
            assert found.seq > seq


def test_numbers_have_no_gap_and_no_double(pair, adapter, folder, postgresql):
    paths = [folder() for _ in range(12)]
    results = at_once(
        [
            lambda p=p, path=path: p.client.push(path, *adapter).published
            for p, path in zip(itertools.cycle(pair), paths, strict=False)
        ]
    )
    assert sorted(result.record.number for result in results) == list(range(1, 13))
    for process in pair:
        assert [version.number for version in process.client.adapter(*adapter).versions] == list(range(1, 13))


def test_names_made_at_once_are_made_once(pair, folder):
    """The first pushes of tenants: who comes second finds the rows."""
    path = folder()
    names = [(f"tenant{number // 4}", f"adapter{number // 2}") for number in range(12)]
    results = at_once(
        [
            lambda p=p, name=name: p.client.push(path, *name).published
            for p, name in zip(itertools.cycle(pair), names, strict=False)
        ]
    )
    assert Counter(result.created for result in results) == {True: 6, False: 6}
    made = [(a.tenant, a.name) for tenant, _ in dict(names).items() for a in pair[0].client.adapters(tenant)]
    assert sorted(made) == sorted(set(names))


def test_one_killed_while_it_writes_leaves_the_other_whole(postgresql, s3, adapter, folder, tmp_path):
    """Four writers at each; what either acknowledged is there, what it did not is there whole or not at all."""
    with registries(postgresql, s3, tmp_path) as start:
        pair = doomed, other = started(start)
        acknowledged: dict[str, int] = {}
        enough, paths, lock = threading.Event(), [folder() for _ in range(48)], threading.Lock()

        def write(process: Process, share: list[Path]) -> None:
            for path in share:
                try:
                    record = process.client.push(path, *adapter).published.record
                except RegistryUnavailable:
                    assert process is doomed
                    return
                with lock:
                    assert record.number not in acknowledged.values()
                    acknowledged[record.digest] = record.number
                    if len(acknowledged) >= 10:
                        enough.set()

        with ThreadPoolExecutor(8) as pool:
            writers = [
                pool.submit(write, pair[number % 2], paths[number * 6 : (number + 1) * 6]) for number in range(8)
            ]
            assert enough.wait(START_S)
            doomed.kill()
            for writer in writers:
                writer.result()
        versions = other.client.adapter(*adapter).versions
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        assert acknowledged.items() <= {version.digest: version.number for version in versions}.items()
        assert len(acknowledged) >= 24, "the other's own all went through"
        for version in versions:
            other.client.pull(
                other.client.version(version.digest).manifest, tmp_path / "pulled" / str(version.number)
            )
        again = start("a")
        again.await_answer()
        assert again.client.adapter(*adapter) == other.client.adapter(*adapter)
        assert again.client.push(folder(), *adapter).published.record.number == len(versions) + 1
