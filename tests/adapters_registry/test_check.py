"""The bounds of the check: whatever its child does, the caller gets one answer in time and keeps nothing."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from adapters_registry.blobs import BlobStore, DirectoryBlobs
from adapters_registry.blobs.bucket import BucketBlobs
from adapters_registry.check import check
from adapters_registry.errors import CheckFailed, CheckUnavailable, DigestMismatch, RegistryError, StorageFailed
from adapters_registry.findings import Inspection
from adapters_registry.folder import WEIGHTS
from adapters_registry.kinds import ArtifactFile, judge
from adapters_registry.manifest import BaseManifest
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.hostile.children import SECRET
from tests.adapters_registry.hostile.configs import BOMB

MIB = 1 << 20
STAND_INS = "tests.adapters_registry.hostile.children"


def opened() -> set[tuple[int, str]]:
    """Descriptors of this process, but for connections, which a client of a bucket keeps."""
    found = set()
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(FileNotFoundError):  # the one that listed them
            found.add((descriptor, os.readlink(f"/proc/self/fd/{descriptor}")))
    return {(descriptor, target) for descriptor, target in found if not target.startswith("socket:")}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Neither descriptors nor processes."""
    descriptors, processes = opened(), set(psutil.Process().children())
    yield
    assert opened() <= descriptors
    assert set(psutil.Process().children()) <= processes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return artifacts.folder(tmp_path / "adapter")


def files(folder: Path) -> list[ArtifactFile]:
    return [ArtifactFile(file, partial((folder / file.path).open, "rb")) for file in artifacts.files(folder)]


def run(folder: Path, misdeed: str | None = None, base: BaseManifest | None = None, **limits: float) -> Inspection:
    """The check of the folder, by the stand-in that misbehaves so."""
    bounds = Limits.model_validate({"rank": 8, "check_s": 60} | limits)
    if misdeed is None:
        return check(base or artifacts.base(), files(folder), bounds)
    return check(artifacts.base(), files(folder), bounds, child=("-P", "-m", STAND_INS, misdeed))


def test_the_child_finds_what_this_process_would(folder):
    assert run(folder) == judge(artifacts.base(), files(folder), Limits(rank=8))


def test_norms(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=a.shape).astype(np.float32) for name, a in artifacts.tensors().items()}
    found = run(artifacts.folder(tmp_path / "a", weights=artifacts.pack(arrays)))
    deltas = []
    for norms in found.norms.by_module:
        a, b = (arrays[artifacts.key(norms.module, f"lora_{which}.weight")] for which in "AB")
        delta = np.linalg.norm(2.0 * b.astype(np.float64) @ a)
        assert (norms.a, norms.b, norms.delta) == pytest.approx(
            (np.linalg.norm(a), np.linalg.norm(b), delta), rel=1e-5
        )
        assert norms.max_abs == pytest.approx(max(np.abs(a).max(), np.abs(b).max()), rel=1e-5)
        deltas.append(delta)
    assert found.norms.total == pytest.approx(np.linalg.norm(deltas), rel=1e-5)
    assert (found.norms.largest, found.norms.smallest) == pytest.approx((max(deltas), min(deltas)), rel=1e-5)


@pytest.mark.parametrize(
    ("misdeed", "error", "told"),
    [
        ("garble", CheckFailed, "gave no answer"),
        ("flood", CheckFailed, "endless answer"),
        ("stay_silent", CheckFailed, "gave no answer"),
        ("fail", CheckFailed, "status 3"),
        ("crash", CheckFailed, "Segmentation fault"),
        ("allocate", CheckFailed, "crashed"),
        ("answer_another", CheckFailed, "another question"),
        ("be_killed", CheckUnavailable, "SIGKILL"),
        ("fail_at_start", CheckUnavailable, "did not start"),
    ],
)
def test_a_child_that_misbehaves(folder, misdeed, error, told):
    with pytest.raises(error, match=told) as caught:
        run(folder, misdeed, check_bytes=256 * MIB)
    assert (caught.value.retry_after_s is None) == (error is CheckFailed)


@pytest.mark.parametrize("misdeed", ["hang", "linger"])
def test_a_child_that_hangs_is_killed(folder, misdeed):
    with pytest.raises(CheckUnavailable, match=r"took over 2 s \(limits.check_s\)|did not start in time"):
        run(folder, misdeed, check_s=2)


def test_a_child_that_does_not_start_is_killed(folder):
    with pytest.raises(CheckUnavailable, match="did not start in time"):
        run(folder, "hang_at_start", check_s=0.5)


def test_a_child_cannot_open_connect_or_read_a_secret(folder, monkeypatch):
    monkeypatch.setenv(SECRET, "postgresql://registry:secret@db/registry")
    assert run(folder, "escape").norms.modules == 2


def test_an_artifact_that_takes_the_processor(tmp_path):
    """A pattern that never ends, under a registry that lets it."""
    bomb = artifacts.folder(tmp_path / "a", artifacts.config(target_modules=BOMB))
    assert run(artifacts.folder(tmp_path / "good"), "hurry").norms.modules == 2
    with pytest.raises(CheckFailed, match=r"processor time \(half of limits.check_s\): push"):
        run(bomb, "hurry", match_s=1000)


def test_an_artifact_that_takes_the_memory(tmp_path):
    """A of 32 MiB as float32, of which float64 copies are made."""
    inputs = 1 << 20
    small = artifacts.base()
    wide = small.modules[artifacts.Q0].model_copy(update={"in_features": inputs})
    base = small.model_copy(update={"modules": small.modules | {artifacts.Q0: wide}})
    arrays = artifacts.pair(artifacts.Q0, rank=8)
    arrays[artifacts.key(artifacts.Q0, "lora_A.weight")] = np.ones((8, inputs), np.float32)
    settings = artifacts.config(r=8, target_modules=[artifacts.Q0])
    path = artifacts.folder(tmp_path / "a", settings, artifacts.pack(arrays))
    with pytest.raises(CheckFailed, match=rf"{192 * MIB} bytes of memory \(limits.check_bytes\): push"):
        run(path, base=base, check_bytes=192 * MIB)
    assert run(path, base=base, check_bytes=512 * MIB).norms.modules == 1


def test_killed_from_outside_while_it_works(tmp_path):
    bomb = artifacts.folder(tmp_path / "a", artifacts.config(target_modules=BOMB))
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.01):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if child.name().startswith("python") and child.cpu_times().user > 0.6:  # it has long begun
                        child.send_signal(signal.SIGTERM)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(CheckUnavailable, match="killed by another") as caught:
            run(bomb, match_s=1000)
    finally:
        stop.set()
        killer.join()
    assert caught.value.retry_after_s


def stored(blobs: BlobStore, folder: Path, tmp_path: Path) -> list[ArtifactFile]:
    """The folder's files in the store."""
    kept = []
    for file in artifacts.files(folder):
        staged = tmp_path / "staged"
        staged.write_bytes((folder / file.path).read_bytes())
        blobs.put(staged, file.digest, file.size)
        kept.append(ArtifactFile(file, partial(blobs.open, file.digest)))
    return kept


@pytest.fixture
def bucket(bucket_url: str) -> BucketBlobs:
    return BucketBlobs(bucket_url)


def test_blobs_of_a_bucket_are_copied_and_not_kept(bucket, folder, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    assert check(artifacts.base(), stored(bucket, folder, tmp_path), Limits(rank=8), spool=spool) == run(folder)
    assert not list(spool.iterdir())


def test_copied_bytes_must_be_those_of_the_digest(bucket, folder, tmp_path):
    weights, config = sorted(stored(bucket, folder, tmp_path), key=lambda entry: entry.file.path != WEIGHTS)
    damaged = [config, ArtifactFile(weights.file, config.open)]
    with pytest.raises(DigestMismatch, match="upload it again") as caught:
        check(artifacts.base(), damaged, Limits(rank=8))
    assert caught.value.param == WEIGHTS


def test_nowhere_to_copy_to(bucket, folder, tmp_path):
    with pytest.raises(StorageFailed):
        check(artifacts.base(), stored(bucket, folder, tmp_path), Limits(rank=8), spool=tmp_path / "absent")


@contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """This process may open that many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probes = [os.dup(0) for _ in range(spare)]  # the lowest that are free
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(probes) + 1, hard))
    for probe in probes:
        os.close(probe)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_descriptors_to_start_a_child_is_not_the_artifacts_fault(folder, tmp_path):
    artifact = stored(DirectoryBlobs(tmp_path / "blobs"), folder, tmp_path)
    seen: list[tuple[str, bool]] = []
    for spare in range(1, 40):
        try:
            with descriptors(spare):
                check(artifacts.base(), artifact, Limits(rank=8))
            break
        except RegistryError as error:
            seen.append((error.code, error.retry_after_s is not None))
    else:
        pytest.fail("40 descriptors were not enough")
    assert set(seen) == {("storage_failed", True), ("check_unavailable", True)}
