"""What every store of blobs does, on a directory and on a bucket of a real S3 server."""

from __future__ import annotations

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters_registry.blobs.bucket import PART_BYTES
from adapters_registry.errors import BlobNotFound, StorageFailed
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.blobs.conftest import name_of

DATA = b"weights" * 1000
UNKNOWN = sha256(b"never put")
AT_ONCE = 16


def put(blobs, stage, data):
    return blobs.put(stage(data), sha256(data), len(data))


def read(blobs, data):
    with blobs.open(sha256(data)) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 4095, 1 << 20, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 1])
def test_what_was_put_is_read_again(blobs, stage, size):
    data = os.urandom(size)
    assert put(blobs, stage, data)
    assert blobs.size(sha256(data)) == blobs.settle(sha256(data)) == size
    assert read(blobs, data) == data


def test_a_blob_lies_under_its_digest_in_either_store(place, blobs, stage):
    put(blobs, stage, DATA)
    assert place.names() == [name_of(DATA)]


def test_the_same_blob_again_is_not_new(place, blobs, stage):
    assert put(blobs, stage, DATA)
    assert not put(blobs, stage, DATA)
    assert place.names() == [name_of(DATA)]


def test_another_opening_finds_it(place, blobs, stage):
    put(blobs, stage, DATA)
    again = place.open()
    assert read(again, DATA) == DATA
    assert not put(again, stage, DATA)


def test_an_unknown_blob(blobs):
    assert blobs.size(UNKNOWN) is None
    for ask in (blobs.open, blobs.settle):
        with pytest.raises(BlobNotFound) as refused:
            ask(UNKNOWN)
        assert refused.value.param == UNKNOWN
    assert list(blobs.stored()) == []


def test_reading_goes_on_from_anywhere(blobs, stage):
    data = os.urandom(9 << 20)  # more than a bucket's reader asks for at a time
    put(blobs, stage, data)
    with blobs.open(sha256(data)) as file, io.BytesIO(data) as same:
        for offset, whence in [(5, 0), (100, 1), (-3, 2), (6 << 20, 0), (0, 0), (1 << 24, 0), (4 << 20, 0)]:
            assert file.seek(offset, whence) == same.seek(offset, whence)
            assert file.read(70_000) == same.read(70_000)
            assert file.tell() == same.tell()
        assert file.read() == same.read()
        assert file.read(1) == b""


def test_a_deleted_blob_is_gone_and_may_come_again(place, blobs, stage):
    put(blobs, stage, DATA)
    put(blobs, stage, b"other")
    blobs.delete(sha256(DATA))
    assert blobs.size(sha256(DATA)) is None
    assert place.names() == [name_of(b"other")]
    blobs.delete(sha256(DATA))
    blobs.delete(UNKNOWN)
    assert put(blobs, stage, DATA)
    assert read(blobs, DATA) == DATA


def test_all_blobs_are_listed_and_nothing_else(place, blobs, stage):
    data = [b"%d" % number * number for number in range(1, 41)]
    for one in data:
        put(blobs, stage, one)
    for name in ("sha256/ab/left.tmp", f"{name_of(DATA)}.tmp", "sha256/README", "else/where"):
        place.write(name, b"somebody's")
    found = list(blobs.stored())
    assert sorted((blob.digest, blob.size) for blob in found) == sorted((sha256(one), len(one)) for one in data)


def test_a_blob_is_as_old_as_its_put(blobs, stage):
    """And not as the staged file, whose upload may have been parked for long: the collector goes by it."""
    staged = stage(DATA)
    os.utime(staged, (1e9, 1e9))
    before = time.time()
    blobs.put(staged, sha256(DATA), len(DATA))
    (blob,) = blobs.stored()
    assert before - 60 < blob.put_at < time.time() + 60


@pytest.mark.parametrize("size", [100, PART_BYTES + 100])
@pytest.mark.parametrize("damaged", [0, 50, PART_BYTES + 200])
def test_a_damaged_blob_is_replaced_whole(place, blobs, stage, size, damaged):
    data = os.urandom(size)
    place.write(name_of(data), bytes(damaged))
    assert blobs.size(sha256(data)) == damaged
    assert put(blobs, stage, data)
    assert read(blobs, data) == data
    assert place.names() == [name_of(data)]


@pytest.mark.parametrize("size", [1000, PART_BYTES + 1000])
def test_equal_bytes_put_at_once_are_one_blob(place, blobs, stage, size):
    data = os.urandom(size)
    staged = [stage(data) for _ in range(AT_ONCE)]
    barrier = threading.Barrier(AT_ONCE)

    def one(path):
        barrier.wait()
        new = blobs.put(path, sha256(data), size)
        assert blobs.settle(sha256(data)) == size, "whoever was told finds it"
        assert read(blobs, data) == data
        return new

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert True in pool.map(one, staged)
    assert place.names() == [name_of(data)]


def test_other_bytes_put_at_once_do_not_meet(place, blobs, stage):
    data = [os.urandom(1000 + number) for number in range(4 * AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(lambda one: put(blobs, stage, one), data))
        assert list(pool.map(lambda one: read(blobs, one), data)) == data
    assert place.names() == sorted(map(name_of, data))


def test_puts_and_deletes_at_once_leave_a_blob_whole_or_none(place, blobs, stage):
    """Whoever reads meanwhile reads all of it or is told that there is none, and who puts that it is gone again."""

    def churn(number):
        try:
            if number % 2:
                put(blobs, stage, DATA)
            else:
                blobs.delete(sha256(DATA))
            return read(blobs, DATA)
        except BlobNotFound:
            return None
        except StorageFailed as error:
            if "holds None bytes" not in error.message:
                raise
            return None

    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(churn, range(120)))
    assert seen <= {DATA, None}
    assert DATA in seen
    assert place.names() in ([], [name_of(DATA)])
