"""Blobs in a bucket of a real S3 server: what only a server has, and what it does when it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from adapters_registry.blobs.bucket import PART_BYTES, BucketBlobs
from adapters_registry.errors import BlobNotFound, DigestMismatch, InvalidValue, StorageFailed
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.blobs.conftest import InBucket
from tests.adapters_registry.servers import S3Server

DATA = b"weights" * 1000


@pytest.fixture
def place(s3):
    return InBucket(s3)


@pytest.fixture
def server(s3) -> Iterator[S3Server]:
    """To be killed; it runs again for whoever comes next."""
    yield s3
    s3.kill()
    s3.start()


@pytest.mark.parametrize("size", [100, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_bytes_that_the_digest_does_not_name_are_never_put(place, stage, size):
    blobs, data = place.open(), os.urandom(size)
    staged, digest = stage(data[:-1] + bytes([data[-1] ^ 1])), sha256(data)
    with pytest.raises(DigestMismatch):
        blobs.put(staged, digest, size)
    assert place.names() == []
    assert blobs.size(digest) is None


@pytest.mark.parametrize("size", [100, 2 * PART_BYTES])
def test_a_staged_file_that_is_too_short_is_never_put(place, stage, size):
    data = os.urandom(size)
    with pytest.raises(DigestMismatch):
        place.open().put(stage(data[:-10]), sha256(data), size)
    assert place.names() == []


def test_two_prefixes_of_a_bucket_are_two_stores(s3, stage):
    one, other = InBucket(s3), InBucket(s3)
    one.open().put(stage(DATA), sha256(DATA), len(DATA))
    assert other.open().size(sha256(DATA)) is None
    assert other.names() == []


def test_a_missing_bucket_is_named_at_the_start(s3):
    with pytest.raises(StorageFailed, match="NoSuchBucket"):
        BucketBlobs("s3://nobody-made-this/prefix")


@pytest.mark.parametrize(
    ("name", "code"),
    [("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"), ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId")],
)
def test_a_wrong_key_is_named_at_the_start_and_not_shown(s3, monkeypatch, name, code):
    monkeypatch.setenv(name, "not-this-one")
    with pytest.raises(StorageFailed, match=code) as refused:
        BucketBlobs(s3.url("prefix"))
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in refused.value.message


def test_an_endpoint_elsewhere_is_not_reached_without_encryption(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.example:9000")
    with pytest.raises(InvalidValue, match="AWS_ALLOW_HTTP"):
        BucketBlobs("s3://registry/prefix")


def test_while_the_server_is_down_every_call_says_when_to_come_back(server, place, stage):
    blobs, other = place.open(), b"other"
    blobs.put(stage(DATA), sha256(DATA), len(DATA))
    server.kill()
    staged = stage(other)
    calls = {
        "put": lambda: blobs.put(staged, sha256(other), len(other)),
        "size": lambda: blobs.size(sha256(DATA)),
        "settle": lambda: blobs.settle(sha256(DATA)),
        "open": lambda: blobs.open(sha256(DATA)),
        "delete": lambda: blobs.delete(sha256(DATA)),
        "stored": lambda: list(blobs.stored()),
        "start": place.open,
    }
    for name, call in calls.items():
        with pytest.raises(StorageFailed) as refused:
            call()
        assert refused.value.retry_after_s, name
    assert staged.read_bytes() == other
    server.start()
    with blobs.open(sha256(DATA)) as file:
        assert file.read() == DATA, "the same store goes on"
    assert blobs.put(staged, sha256(other), len(other))
    assert {blob.digest for blob in blobs.stored()} == {sha256(DATA), sha256(other)}


def test_a_server_that_dies_under_a_reader_is_a_failure_not_an_end(server, place, stage):
    blobs, data = place.open(), os.urandom(9 << 20)
    blobs.put(stage(data), sha256(data), len(data))
    with blobs.open(sha256(data)) as file:
        assert file.read(1000) == data[:1000]
        server.kill()
        with pytest.raises(StorageFailed):
            file.read()


def test_a_blob_deleted_under_a_reader_is_not_found_not_short(place, stage):
    blobs, data = place.open(), os.urandom(9 << 20)
    blobs.put(stage(data), sha256(data), len(data))
    with blobs.open(sha256(data)) as file:
        assert file.read(1000) == data[:1000]
        blobs.delete(sha256(data))
        with pytest.raises(BlobNotFound):
            file.read()
