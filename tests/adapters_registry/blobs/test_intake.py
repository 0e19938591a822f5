"""The end of an upload: into the store, then told to whoever keeps the rows, and what is left when either fails."""

from __future__ import annotations

import pytest

from adapters_registry.blobs import Staging
from adapters_registry.blobs.intake import keep
from adapters_registry.errors import BlobNotFound, DigestMismatch, QuotaExceeded, StorageFailed, StorageFull
from adapters_registry.settings import Limits
from tests.adapters_registry.artifacts import sha256

DATA = b"weights" * 1000
DIGEST = sha256(DATA)


class Rows:
    """Keeps what it was told, or raises what it is to raise, one after the other."""

    def __init__(self, *raised):
        self.told = []
        self._raised = list(raised)

    def __call__(self, tenant, digest, size):
        if self._raised and (error := self._raised.pop(0)) is not None:
            raise error
        self.told.append((tenant, digest, size))


@pytest.fixture
def staging(tmp_path):
    return Staging(tmp_path / "staging", Limits())


@pytest.fixture
def upload(staging):
    upload = staging.begin("acme", DIGEST)
    upload.write(DATA)
    return upload


def staged(tmp_path):
    return [path for path in (tmp_path / "staging").rglob("*") if path.is_file()]


def test_what_is_kept_is_stored_before_its_row_is_written(upload, staging, blobs, tmp_path):
    def finished(tenant, digest, size):
        assert blobs.settle(digest) == size
        rows(tenant, digest, size)

    rows = Rows()
    assert keep(upload, staging, blobs, finished)
    assert rows.told == [("acme", DIGEST, len(DATA))]
    assert (staged(tmp_path), staging.bytes) == ([], 0)
    with blobs.open(DIGEST) as file:
        assert file.read() == DATA


def test_bytes_that_are_there_are_told_too(upload, staging, blobs, tmp_path):
    keep(upload, staging, blobs, Rows())
    again, rows = staging.begin("globex", DIGEST), Rows()
    again.write(DATA)
    assert not keep(again, staging, blobs, rows)
    assert rows.told == [("globex", DIGEST, len(DATA))]
    assert (staged(tmp_path), staging.bytes) == ([], 0)


def test_wrong_bytes_reach_neither(staging, blobs, tmp_path):
    upload, rows = staging.begin("acme", DIGEST), Rows()
    upload.write(b"other")
    with pytest.raises(DigestMismatch):
        keep(upload, staging, blobs, rows)
    assert (rows.told, blobs.size(DIGEST), staged(tmp_path), staging.bytes) == ([], None, [], 0)


def test_what_is_refused_is_not_staged_any_more(upload, staging, blobs, tmp_path):
    with pytest.raises(QuotaExceeded):
        keep(upload, staging, blobs, Rows(QuotaExceeded("over")))
    assert (staged(tmp_path), staging.bytes) == ([], 0)


def test_where_the_rows_are_full_nothing_is_staged_any_more(upload, staging, blobs, tmp_path):
    with pytest.raises(StorageFull):
        keep(upload, staging, blobs, Rows(StorageFull("full")))
    assert (staged(tmp_path), staging.bytes) == ([], 0)


def test_where_the_rows_failed_the_end_alone_is_tried_again(upload, staging, blobs):
    """Whether the store took the staged file or not: then its bytes are there already."""
    with pytest.raises(StorageFailed):
        keep(upload, staging, blobs, Rows(StorageFailed("broken", retry_after_s=1)))
    partial = staging.partial("acme", DIGEST)
    if partial is None:
        assert blobs.size(DIGEST) == len(DATA)
        again = staging.begin("acme", DIGEST)
        again.write(DATA)
    else:
        assert partial.size == len(DATA)
        again = staging.resume("acme", DIGEST, len(DATA))
    rows = Rows()
    keep(again, staging, blobs, rows)
    assert rows.told == [("acme", DIGEST, len(DATA))]
    assert staging.bytes == 0


def test_bytes_collected_before_their_row_was_written_are_put_again(upload, staging, blobs, tmp_path):
    keep(upload, staging, blobs, Rows())
    again, told = staging.begin("globex", DIGEST), []
    again.write(DATA)

    def finished(tenant, digest, size):
        if not told:
            told.append("collected")
            blobs.delete(digest)
            raise BlobNotFound("collected")
        told.append((tenant, digest, size))

    assert keep(again, staging, blobs, finished)
    assert told == ["collected", ("globex", DIGEST, len(DATA))]
    assert (blobs.size(DIGEST), staged(tmp_path)) == (len(DATA), [])


def test_a_store_that_loses_bytes_for_ever_is_a_failure(upload, staging, blobs, tmp_path):
    with pytest.raises(StorageFailed, match="deleted while it was stored"):
        keep(upload, staging, blobs, Rows(*[BlobNotFound("gone")] * 9))
    assert staging.bytes in (0, 1 << 20)  # a bucket leaves the staged file, to be continued


def test_what_an_earlier_try_left_goes_with_success(staging, blobs, tmp_path):
    first, second = staging.begin("acme", DIGEST), staging.begin("acme", DIGEST)
    first.write(DATA[:100])
    first.park()
    second.write(DATA)
    keep(second, staging, blobs, Rows())
    assert (staging.partial("acme", DIGEST), staged(tmp_path), staging.bytes) == (None, [], 0)
