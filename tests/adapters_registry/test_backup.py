"""A backup taken while the registry works is whole, and what is restored from it verifies."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from adapters_registry import backup
from adapters_registry.api.app import create_app
from adapters_registry.backup import back_up
from adapters_registry.client import RegistryClient
from adapters_registry.errors import DigestMismatch, StorageFailed, StoreOwned
from adapters_registry.feed import Feed
from adapters_registry.folder import WEIGHTS, describe
from adapters_registry.opening import open_registry
from adapters_registry.records import Snapshot
from adapters_registry.settings import Limits
from adapters_registry.verify import Verified, verify
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving
from tests.adapters_registry.servers import find_postgresql

pytestmark = pytest.mark.acceptance
ACME = ("acme", "support")


@contextmanager
def served(directory: Path, database_url: str | None = None) -> Iterator[RegistryClient]:
    """A registry on ``directory`` behind a real socket."""
    feed, limits = Feed(), Limits(grace_s=0)
    with (
        open_registry(directory, limits, feed.committed, database_url=database_url) as registry,
        serving(create_app(registry, feed, limits)) as url,
        RegistryClient(url, timeout_s=120) as client,
    ):
        yield client


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RegistryClient]:
    with served(tmp_path / "live") as client:
        client.put_base(artifacts.base())
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[], Path]:
    """An adapter unlike those before."""
    numbers = itertools.count(1)

    def make() -> Path:
        number = next(numbers)
        weights = artifacts.pack(artifacts.tensors(number / 256))
        return artifacts.folder(tmp_path / "folders" / str(number), weights=weights)

    return make


def read_all(directory: Path, database_url: str | None = None) -> Verified:
    with open_registry(directory, Limits(), Feed().committed, database_url=database_url) as registry:
        return verify(registry)


def snapshot(client: RegistryClient) -> Snapshot:
    answer = httpx.get(f"{client.url}/v1/snapshot", trust_env=False).raise_for_status()
    return Snapshot.model_validate_json(answer.content)


def blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / digest[7:9] / digest[7:]


def test_everything_is_there_again(live, folder, tmp_path):
    folders = [folder() for _ in range(4)]
    for path in folders[:3]:
        live.push(path, *ACME, promote=True)
    live.push(folders[3], "globex", "other")
    live.delete_version(*ACME, 1)
    live.promote(*ACME, 2)
    waiting = describe(folder() / WEIGHTS)
    bytes_of = (tmp_path / "folders" / "5" / WEIGHTS).read_bytes()
    httpx.put(f"{live.url}/v1/uploads/{waiting.digest}", content=bytes_of, trust_env=False).raise_for_status()
    back_up(tmp_path / "live", tmp_path / "backup")
    before, head = snapshot(live), live.verify_audit()
    shutil.copytree(tmp_path / "backup", tmp_path / "restored")
    with served(tmp_path / "restored") as restored:
        assert snapshot(restored) == before
        assert restored.verify_audit() == head
        for number, path in ((2, folders[1]), (3, folders[2])):
            digest = next(v.digest for v in restored.adapter(*ACME).versions if v.number == number)
            restored.pull(restored.version(digest).manifest, tmp_path / "pulled" / str(number))
            for file in (tmp_path / "pulled" / str(number)).iterdir():
                assert file.read_bytes() == (path / file.name).read_bytes()
        # An upload that waited for its commit at the time of the backup is not asked for again.
        uploaded = httpx.head(f"{restored.url}/v1/uploads/{waiting.digest}", trust_env=False)
        assert uploaded.headers["upload-complete"] == "?1"
        assert restored.push(folder(), *ACME).published.record.number == 4
    assert read_all(tmp_path / "restored").problems == ()


def test_while_pushes_deletions_and_collections_go_on(live, folder, tmp_path):
    """The collector takes bytes at once here, also between a backup's rows and its blobs."""
    stop, failures, acknowledged = threading.Event(), [], []

    def churn(name: str) -> None:
        try:
            while not stop.is_set():
                record = live.push(folder(), "acme", name, promote=True).published.record
                acknowledged.append((name, record.number))
                if record.number > 2:
                    live.delete_version("acme", name, record.number - 2)
                live.collect(dry_run=False, grace_s=0)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=churn, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    try:
        while len(acknowledged) < 16 and not failures:
            known = list(acknowledged)
            back_up(tmp_path / "live", tmp_path / "backup")
            shutil.rmtree(tmp_path / "restored", ignore_errors=True)
            shutil.copytree(tmp_path / "backup", tmp_path / "restored")
            assert read_all(tmp_path / "restored").problems == ()
            assert newest(tmp_path / "restored") >= newest_of(known)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert failures == []


def newest(directory: Path) -> int:
    """The sum of the adapters' last numbers: it only grows."""
    with closing(sqlite3.connect(directory / "registry.db")) as rows:
        return int(rows.execute("SELECT coalesce(sum(next_number - 1), 0) FROM adapters").fetchone()[0])


def newest_of(acknowledged: list[tuple[str, int]]) -> int:
    last = dict(sorted(acknowledged, key=lambda pushed: pushed[1]))
    return sum(last.values())


def test_blobs_that_the_collector_took_meanwhile_are_not_missed(live, folder, tmp_path, monkeypatch):
    """Between the rows and their blobs a version is deleted and collected: the rows are taken again."""
    live.push(folder(), *ACME)
    live.push(folder(), *ACME, promote=True)
    taken, copy_rows = [], backup._copy_rows

    def copy_then_collect(source: Path, to: Path) -> None:
        copy_rows(source, to)
        taken.append(to)
        if len(taken) == 1:
            live.delete_version(*ACME, 1)
            assert live.collect(dry_run=False, grace_s=0).blobs == 1

    monkeypatch.setattr(backup, "_copy_rows", copy_then_collect)
    back_up(tmp_path / "live", tmp_path / "backup")
    assert len(taken) == 2
    found = read_all(tmp_path / "backup")
    assert (found.versions, found.problems) == (1, ())


def test_the_next_backup_copies_what_is_new(live, folder, tmp_path):
    live.push(folder(), *ACME)
    assert back_up(tmp_path / "live", tmp_path / "backup").copied == 2
    path = folder()
    live.push(path, *ACME)
    done = back_up(tmp_path / "live", tmp_path / "backup")
    assert (done.blobs, done.copied, done.copied_bytes) == (3, 1, (path / WEIGHTS).stat().st_size)
    assert read_all(tmp_path / "backup").versions == 2


@pytest.mark.parametrize("harm", ["damaged", "lost"])
def test_a_blob_that_is_not_what_it_was_is_told_and_the_earlier_backup_stays(live, folder, tmp_path, harm):
    live.push(folder(), *ACME)
    back_up(tmp_path / "live", tmp_path / "backup")
    path = folder()
    live.push(path, *ACME)
    digest = describe(path / WEIGHTS).digest
    at = blob(tmp_path / "live", digest)
    if harm == "damaged":
        at.write_bytes(at.read_bytes()[:-1] + b"x")
    else:
        at.unlink()
    with pytest.raises(DigestMismatch if harm == "damaged" else StorageFailed, match=digest):
        back_up(tmp_path / "live", tmp_path / "backup")
    found = read_all(tmp_path / "backup")
    assert (found.versions, found.problems) == (1, ())


def test_refusals(live, tmp_path):
    with pytest.raises(StorageFailed, match=r"holds no registry\.db"):
        back_up(tmp_path / "nowhere", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    with pytest.raises(StoreOwned):
        back_up(tmp_path / "live", tmp_path / "live")


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_from_a_shell(live, folder, tmp_path):
    live.push(folder(), *ACME)
    done = run("adapters_registry.backup", tmp_path / "live", tmp_path / "backup")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path / 'backup'} holds all rows and 2 blobs, 2 of them new" in done.stdout
    done = run("adapters_registry.verify", "--data-dir", tmp_path / "backup")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1 versions, 2 blobs, 3 audit entries read\n")
    done = run("adapters_registry.verify", "--data-dir", tmp_path / "live")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Another registry" in done.stderr
    done = run("adapters_registry.backup", tmp_path / "nowhere", tmp_path / "backup")
    assert done.returncode == 1
    assert done.stderr.startswith("no backup was made: ")


def test_verify_names_everything_that_is_not_what_was_written(live, folder, tmp_path):
    paths = [folder(), folder()]
    for path in paths:
        live.push(path, *ACME)
    damaged, lost = (describe(path / WEIGHTS).digest for path in paths)
    back_up(tmp_path / "live", tmp_path / "backup")
    blob(tmp_path / "backup", damaged).write_bytes(b"others")
    blob(tmp_path / "backup", lost).unlink()
    with closing(sqlite3.connect(tmp_path / "backup" / "registry.db")) as rows, rows:
        rows.execute("UPDATE audit SET actor = 'somebody else' WHERE action = 'version.publish'")
        rows.execute("UPDATE versions SET manifest = replace(manifest, '\"rank\":2', '\"rank\":3') WHERE number = 2")
    done = run("adapters_registry.verify", "--data-dir", tmp_path / "backup")
    assert done.returncode == 1
    assert "acme/support@2: its manifest is " in done.stderr
    assert f"{damaged}: its bytes are sha256:{hashlib.sha256(b'others').hexdigest()}" in done.stderr
    assert f"{lost}: No blob {lost}" in done.stderr
    assert "is not what was written" in done.stderr


def test_a_dump_of_postgresql_and_a_copy_of_the_blobs(postgresql, folder, tmp_path):
    programs = find_postgresql()
    assert programs is not None
    with ExitStack() as stack:
        old, new = postgresql.make(), postgresql.make()
        for name in (old, new):
            stack.callback(postgresql.drop, name)
        with served(tmp_path / "live", postgresql.url(old)) as live:
            live.put_base(artifacts.base())
            for _ in range(3):
                live.push(folder(), *ACME, promote=True)
            dump = str(tmp_path / "registry.dump")
            subprocess.run([programs / "pg_dump", "--format=custom", "--file", dump, postgresql.url(old)], check=True)
            before = snapshot(live)
            live.push(folder(), *ACME)  # after the dump's moment: its bytes come along, and nothing names them
            shutil.copytree(tmp_path / "live" / "blobs", tmp_path / "restored" / "blobs")
        restore = [programs / "pg_restore", "--exit-on-error", "--no-owner", "--dbname", postgresql.url(new), dump]
        subprocess.run(restore, check=True)
        with served(tmp_path / "restored", postgresql.url(new)) as restored:
            assert snapshot(restored) == before
            assert restored.push(folder(), *ACME).published.record.number == 4
        found = read_all(tmp_path / "restored", postgresql.url(new))
        assert (found.versions, found.problems) == (4, ())
