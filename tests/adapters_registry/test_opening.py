"""A registry as its process opens it: on what its settings name, with the real check of artifacts."""

from __future__ import annotations

import pytest

from adapters_registry.errors import NotFinite
from adapters_registry.folder import CONFIG
from adapters_registry.opening import open_registry
from adapters_registry.registry import Origin
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import store

ACME = ("acme", "support")


@pytest.fixture
def urls(combination, request) -> dict[str, str]:
    """What is given besides the directory."""
    if combination == "sqlite-directory":
        return {}
    return {name: request.getfixturevalue(name) for name in ("database_url", "bucket_url")}


def test_what_was_published_is_there_when_it_is_opened_again(urls, tmp_path):
    options = {"database_url": urls.get("database_url"), "blobs_url": urls.get("bucket_url")}
    path = artifacts.folder(tmp_path / "a")
    bad = artifacts.folder(tmp_path / "bad", weights=artifacts.pack(artifacts.tensors(float("nan"))))
    with open_registry(tmp_path / "data", Limits(), lambda: None, **options) as registry:
        registry.put_base(artifacts.base())
        for folder in (path, bad):
            for file in artifacts.files(folder):
                store(registry, "acme", (folder / file.path).read_bytes())
        digest = registry.publish(*ACME, artifacts.files(path), Origin()).record.digest
        with pytest.raises(NotFinite):
            registry.publish(*ACME, artifacts.files(bad), Origin())
        before = registry.snapshot()
    assert (tmp_path / "data" / "blobs").exists() == (not urls), "nothing is kept where nothing belongs"
    with open_registry(tmp_path / "data", Limits(), lambda: None, **options) as registry:
        assert registry.snapshot() == before
        detail = registry.version(digest)
        assert detail.norms is not None
        assert detail.norms.modules == 2
        with registry.blobs.open(detail.manifest.file(CONFIG).digest) as file:
            assert file.read() == (path / CONFIG).read_bytes()
