"""Uploads on this machine's disk: broken off and continued, expired, crowded out, and bounded all together."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.blobs import Staging
from adapters_registry.blobs.disk import Disk
from adapters_registry.blobs.staging import SMALLEST_BYTES, Partial, evict
from adapters_registry.blobs.upload import Target
from adapters_registry.errors import DigestMismatch, InvalidValue, OffsetMismatch, StorageFailed, StorageFull
from adapters_registry.settings import Limits
from tests.adapters_registry.artifacts import sha256

MIB = 1 << 20
DATA = b"0123456789" * 10
DIGEST = sha256(DATA)
LIMITS = Limits(upload_bytes=4 * MIB, staging_bytes=8 * MIB, partial_s=100)


class Time:
    """Moved by hand."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "staging"


class Closing(Disk):
    """Closes in the end what an upload that was never ended holds open, as the end of its process would."""

    def __init__(self) -> None:
        self.opened: list[BinaryIO] = []

    def create(self, path: Path) -> BinaryIO:
        self.opened.append(file := super().create(path))
        return file

    def append(self, path: Path) -> BinaryIO:
        self.opened.append(file := super().append(path))
        return file


@pytest.fixture
def disk() -> Iterator[Closing]:
    disk = Closing()
    yield disk
    for file in disk.opened:
        file.close()


@pytest.fixture
def staging(root, disk, time):
    return Staging(root, LIMITS, disk, time)


def files(root: Path) -> list[int]:
    """Sizes of all files, other ones than uploads' too."""
    return sorted(path.stat().st_size for path in root.rglob("*") if path.is_file())


def park(staging, data, digest=None, tenant="acme", length=None):
    upload = staging.begin(tenant, digest or sha256(data), length)
    if data:
        upload.write(data)
    upload.park()
    return upload


def test_an_upload_that_broke_off_is_continued(staging, root):
    park(staging, DATA[:30], DIGEST)
    partial = staging.partial("acme", DIGEST)
    assert (partial.size, partial.target.length) == (30, None)
    upload = staging.resume("acme", DIGEST, 30)
    assert staging.partial("acme", DIGEST) is None, "it is this request's now"
    upload.write(DATA[30:])
    upload.seal()
    assert upload.target.path.read_bytes() == DATA
    upload.discard()
    assert (files(root), staging.bytes) == ([], 0)


def test_in_any_number_of_parts(staging):
    for number, byte in enumerate(DATA):
        upload = staging.resume("acme", DIGEST, number)
        upload.write(bytes([byte]))
        upload.park()
    staging.resume("acme", DIGEST, len(DATA)).seal()


@pytest.mark.parametrize("offset", [0, 29, 31, 100])
def test_another_offset_than_what_is_there_is_told_the_right_one(staging, offset):
    park(staging, DATA[:30], DIGEST)
    with pytest.raises(OffsetMismatch) as refused:
        staging.resume("acme", DIGEST, offset)
    assert refused.value.offset == 30
    assert staging.partial("acme", DIGEST).size == 30, "nothing was lost"


def test_an_offset_where_nothing_is_there(staging):
    with pytest.raises(OffsetMismatch) as refused:
        staging.resume("acme", DIGEST, 30)
    assert refused.value.offset == 0
    staging.resume("acme", DIGEST, 0).discard()


def test_another_length_than_was_told(staging):
    park(staging, DATA[:30], DIGEST, length=100)
    with pytest.raises(InvalidValue, match="100 bytes, not 90"):
        staging.resume("acme", DIGEST, 30, length=90)
    upload = staging.resume("acme", DIGEST, 30)
    assert upload.target.length == 100
    upload.park()
    staging.resume("acme", DIGEST, 30, length=100).discard()


def test_a_length_told_late_is_kept(staging):
    park(staging, DATA[:30], DIGEST)
    staging.resume("acme", DIGEST, 30, length=100).park()
    assert staging.partial("acme", DIGEST).target.length == 100


def test_tenants_do_not_meet(staging):
    park(staging, DATA[:30], DIGEST, "acme")
    assert staging.partial("globex", DIGEST) is None
    park(staging, DATA[:40], DIGEST, "globex")
    assert [staging.partial(tenant, DIGEST).size for tenant in ("acme", "globex")] == [30, 40]


def test_who_begins_again_leaves_what_is_parked_until_the_bytes_are_stored(staging, root):
    park(staging, DATA[:30], DIGEST)
    upload = staging.begin("acme", DIGEST)
    upload.write(DATA)
    upload.seal()
    assert files(root) == [30, 100]
    upload.discard()
    staging.drop("acme", DIGEST)
    staging.drop("acme", DIGEST)
    assert (files(root), staging.bytes) == ([], 0)


def test_of_two_that_broke_off_the_longer_one_stays(staging, root):
    for sizes in ([30, 50], [50, 30], [50, 50]):
        uploads = [staging.begin("acme", DIGEST) for _ in sizes]
        for upload, size in zip(uploads, sizes, strict=True):
            upload.write(DATA[:size])
        for upload in uploads:
            upload.park()
        assert staging.partial("acme", DIGEST).size == 50
        assert files(root) == [50]
    assert staging.bytes == SMALLEST_BYTES


def test_only_one_continues(staging):
    park(staging, DATA[:30], DIGEST)
    barrier = threading.Barrier(8)

    def resume(_):
        barrier.wait()
        try:
            return staging.resume("acme", DIGEST, 30)
        except OffsetMismatch:
            return None

    with ThreadPoolExecutor(8) as pool:
        owners = [upload for upload in pool.map(resume, range(8)) if upload is not None]
    assert len(owners) == 1


def test_what_was_parked_too_long_is_dropped(staging, root, time):
    park(staging, DATA[:30], DIGEST)
    time.now += 60
    park(staging, DATA[:40], DIGEST, "globex")
    time.now += 41
    assert staging.partial("acme", DIGEST) is None
    assert staging.partial("globex", DIGEST).size == 40
    assert files(root) == [40]
    with pytest.raises(OffsetMismatch):
        staging.resume("acme", DIGEST, 30)


def test_a_restart_keeps_what_is_parked_and_what_was_under_way(staging, root, time):
    park(staging, DATA[:30], DIGEST)
    staging.begin("globex", DIGEST).write(DATA[:40])
    for path in root.rglob("*.*"):
        os.utime(path, (time.now, time.now))
    again = Staging(root, LIMITS, clock=time)
    assert [again.partial(tenant, DIGEST).size for tenant in ("acme", "globex")] == [30, 40]
    assert again.bytes == 2 * SMALLEST_BYTES
    upload = again.resume("globex", DIGEST, 40)
    upload.write(DATA[40:])
    upload.seal()
    time.now += 101
    last = Staging(root, LIMITS, clock=time)
    assert last.partial("acme", DIGEST) is None


def test_a_restart_leaves_alone_what_is_not_ours(root):
    (root / "acme").mkdir(parents=True)
    (root / "acme" / "notes.txt").write_text("mine")
    (root / "README").write_text("mine")
    staging = Staging(root, LIMITS)
    assert staging.bytes == 0
    assert files(root) == [4, 4]


def test_a_parked_file_that_changed_is_not_continued(staging, root):
    upload = park(staging, DATA[:30], DIGEST)
    upload.target.path.write_bytes(DATA[:20])
    with pytest.raises(StorageFailed, match="has 20 bytes, not 30"):
        staging.resume("acme", DIGEST, 30)
    assert (files(root), staging.bytes) == ([], 0)
    upload = park(staging, DATA[:30], DIGEST)
    upload.target.path.unlink()
    with pytest.raises(StorageFailed):
        staging.resume("acme", DIGEST, 30)
    assert staging.bytes == 0
    staging.begin("acme", DIGEST).discard()


def test_wrong_bytes_leave_nothing(staging, root):
    upload = staging.begin("acme", DIGEST)
    upload.write(b"other")
    with pytest.raises(DigestMismatch, match=sha256(b"other")):
        upload.seal()
    assert (files(root), staging.bytes) == ([], 0)


def test_an_upload_ends_once(staging, root):
    upload = park(staging, DATA[:30], DIGEST)
    upload.discard()
    upload.park()
    upload.write(b"late")  # the last write of a request that was cancelled
    assert staging.partial("acme", DIGEST).size == 30
    assert files(root) == [30]
    upload = staging.resume("acme", DIGEST, 30)
    upload.discard()
    upload.park()
    upload.discard()
    assert (files(root), staging.bytes) == ([], 0)


def test_nothing_is_parked_where_nothing_came(staging, root):
    park(staging, b"", DIGEST)
    assert staging.partial("acme", DIGEST) is None
    assert (files(root), staging.bytes) == ([], 0)


def test_a_tenant_leaves_room_to_others(staging):
    mine, theirs = staging.begin("acme", DIGEST), staging.begin("globex", DIGEST)
    mine.write(bytes(4 * MIB))
    with pytest.raises(StorageFull, match="this tenant's over its share"):
        mine.write(b"1")
    theirs.write(bytes(2 * MIB))
    theirs.discard()
    theirs = staging.begin("globex", DIGEST)
    theirs.write(bytes(4 * MIB))


def test_a_share_that_no_largest_file_fits_in_is_refused():
    with pytest.raises(ValueError, match="no largest file could come in"):
        Limits(upload_bytes=4 * MIB, staging_bytes=8 * MIB - 1)


def test_uploads_under_way_are_bounded_all_together(root, disk):
    staging = Staging(root, LIMITS.model_copy(update={"tenant_share": 1.0}), disk)
    uploads = [staging.begin("acme", sha256(b"%d" % number)) for number in range(3)]
    for upload in uploads[:2]:
        upload.write(bytes(4 * MIB))
    with pytest.raises(StorageFull, match=r"limits\.staging_bytes") as refused:
        uploads[2].write(b"1")
    assert refused.value.retry_after_s
    assert files(root) == [4 * MIB] * 2
    uploads[0].discard()
    again = staging.begin("acme", DIGEST)
    again.write(bytes(4 * MIB))
    assert staging.bytes == 8 * MIB


def test_what_is_parked_gives_way_to_what_is_under_way(staging, root, time):
    for number in range(4):
        park(staging, bytes(2 * MIB), sha256(b"%d" % number))
        time.now += 1
    upload = staging.begin("globex", DIGEST)
    upload.write(bytes(3 * MIB))
    left = [staging.partial("acme", sha256(b"%d" % number)) is not None for number in range(4)]
    assert left == [False, False, True, True], "the oldest went"
    assert staging.bytes == 7 * MIB
    assert files(root) == [2 * MIB, 2 * MIB, 3 * MIB]


def test_a_tenant_crowds_out_its_own(staging, time):
    park(staging, bytes(MIB), sha256(b"theirs"), "globex")
    time.now += 1
    for number in range(20):
        park(staging, bytes(2 * MIB), sha256(b"%d" % number))
        time.now += 1
    assert staging.partial("globex", sha256(b"theirs")) is not None
    assert staging.bytes <= 8 * MIB


def test_a_flood_of_tiny_uploads_is_bounded(staging, root):
    for number in range(50):
        park(staging, b"x", sha256(b"%d" % number))
    staging.begin("acme", DIGEST).write(b"x")
    assert len(files(root)) <= LIMITS.staging_bytes // SMALLEST_BYTES + 1


def test_the_books_are_right_after_many_at_once(root, disk):
    """Whatever happened, the books count the files that are there, and no file is without an entry."""
    staging = Staging(root, LIMITS, disk)
    data = [os.urandom(MIB // 2) for _ in range(6)]

    def churn(seed):
        one = data[seed % 6]
        digest, tenant = sha256(one), f"t{seed % 2}"
        partial = staging.partial(tenant, digest)
        try:
            upload = (
                staging.begin(tenant, digest) if partial is None else staging.resume(tenant, digest, partial.size)
            )
            upload.write(one[upload.size :][: MIB // 4])
        except (OffsetMismatch, StorageFull):
            return
        if seed % 3 and upload.size < len(one):
            upload.park()
        else:
            upload.discard()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(churn, range(400)))
    parked = [staging.partial(f"t{t}", sha256(one)) for t in range(2) for one in data]
    assert sorted(partial.size for partial in parked if partial) == files(root)
    assert staging.bytes == sum(partial.cost for partial in parked if partial)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5 * MIB), st.floats(0, 100)), max_size=12),
    st.integers(-MIB, 40 * MIB),
)
def test_crowding_out_is_enough_and_no_more_than_that(parked, needed):
    partials = [
        Partial(Target(tenant, f"sha256:{number}", Path("x"), None), size, at)
        for number, (tenant, size, at) in enumerate(parked)
    ]
    out = evict(partials, needed)
    assert len(set(out)) == len(out)
    if needed <= sum(partial.cost for partial in partials):
        assert sum(partial.cost for partial in out) >= needed
    assert sum(partial.cost for partial in out[:-1]) < max(needed, 1)
    for number, victim in enumerate(out):
        gone = set(out[:number])
        held = {t: sum(p.cost for p in partials if p.target.tenant == t and p not in gone) for t in "abc"}
        assert held[victim.target.tenant] == max(held.values()), "who holds most gives way"
        own = [p for p in partials if p.target.tenant == victim.target.tenant and p not in gone]
        assert victim.parked_at == min(p.parked_at for p in own), "its oldest"
