"""The registry's process: who may listen where, the first key, the collector."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters_registry.access import Scope, new_key
from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.errors import InvalidKey, InvalidValue, RegistryUnavailable
from adapters_registry.folder import WEIGHTS
from tests.adapters_registry import artifacts

pytestmark = pytest.mark.acceptance


def command(directory: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "adapters_registry", *options, "--data-dir", str(directory)]


def ended(directory: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command(directory, *options), capture_output=True, text=True, check=False, env=os.environ | environment
    )
    return done.returncode, done.stdout, done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(directory: Path, *options: str, **environment: str) -> Iterator[str]:
    """Its address, once it answers; it ends well."""
    port = free_port()
    process = subprocess.Popen(command(directory, "--port", str(port), *options), env=os.environ | environment)
    url = f"http://127.0.0.1:{port}"
    try:
        with RegistryClient(url) as client:
            while True:
                assert process.poll() is None
                try:
                    client.health()
                    break
                except RegistryUnavailable:
                    time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_without_a_key_it_listens_to_this_machine_only(tmp_path):
    code, _, said = ended(tmp_path, "--host", "0.0.0.0")
    assert (code, "create-admin-key" in said) == (1, True)
    code, key, _ = ended(tmp_path, "create-admin-key", "--key-name", "first")
    assert code == 0
    with running(tmp_path, "--host", "0.0.0.0") as url, RegistryClient(url, key=key.strip()) as operator:
        (first,) = operator.keys()
        assert (first.name, first.scopes) == ("first", (Scope.ADMIN,))
        with RegistryClient(url) as nobody, pytest.raises(InvalidKey):
            nobody.page()
        code, _, said = ended(tmp_path, "create-admin-key")
        assert (code, "already uses" in said) == (1, True)
    assert ended(tmp_path, "create-admin-key")[0] == 0


def test_the_first_key_over_loopback(tmp_path):
    with running(tmp_path) as url, RegistryClient(url) as anybody:
        with pytest.raises(InvalidValue):
            anybody.create_key("a", [Scope.ADAPTER_READ])
        anybody.create_key("operator", [Scope.ADMIN])
        with pytest.raises(InvalidKey):
            anybody.page()


async def test_a_serving_planes_own_key(tmp_path):
    key = str(new_key())
    with running(tmp_path, QUICKCHANGE_REGISTRY_SERVICE_KEY=key) as url:
        with RegistryClient(url) as anybody:
            operator = anybody.create_key("operator", [Scope.ADMIN]).key
        async with AsyncRegistryClient(url, key=key) as plane:
            await plane.put_base(artifacts.base())
            assert [grant.name for grant in (await plane.snapshot()).keys] == ["operator"]
        with RegistryClient(url, key=operator) as ours:
            assert ours.audit().entries[-1].actor == "service"
    code, _, said = ended(tmp_path, QUICKCHANGE_REGISTRY_SERVICE_KEY="qc_no_key")
    assert (code, "service_key" in said, "qc_no_key" in said) == (2, True, False)


def test_the_collector_runs(tmp_path):
    """Bytes that a killed upload left in the store go; those of a version stay."""
    left = tmp_path / "blobs" / "sha256" / "aa" / ("a" * 64)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of nobody")
    with running(tmp_path, "--collect-every-s", "0.1", "--limits.grace-s", "0") as url, RegistryClient(url) as client:
        client.put_base(artifacts.base())
        folder = artifacts.folder(tmp_path / "adapter")
        manifest = client.version(client.push(folder, "acme", "support").published.record.digest).manifest
        while left.exists():
            time.sleep(0.05)
        kept = manifest.file(WEIGHTS)
        assert len(client.read_blob(kept.digest, kept.size)) == kept.size
        actions = [(entry.action, entry.actor) for entry in client.audit().entries]
        assert ("blobs.delete", "collector") in actions
