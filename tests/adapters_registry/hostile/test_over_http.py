"""The corpus sent to a registry of its own: each artifact answered with its code, the process's memory as before."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adapters_registry.folder import CONFIG, WEIGHTS, describe
from tests.adapters_registry.hostile.case import LIMITS, MIB, Case, base, folder
from tests.adapters_registry.hostile.corpus import CORPUS
from tests.adapters_registry.hostile.memory import Memory

pytestmark = pytest.mark.acceptance

GROWTH_BYTES = 64 * MIB
ADAPTER = "/v1/adapters/default/hostile"
BOUNDS = ("rank", "upload_bytes", "staging_bytes", "match_s")


@contextmanager
def registry(directory: Path) -> Iterator[tuple[int, httpx.Client]]:
    """A registry's process and a way to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bounds = {f"QUICKCHANGE_REGISTRY_LIMITS__{name.upper()}": str(getattr(LIMITS, name)) for name in BOUNDS}
    process = subprocess.Popen(
        [sys.executable, "-m", "adapters_registry", "--data-dir", str(directory), "--port", str(port)],
        env=os.environ | bounds,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            while True:
                assert process.poll() is None, "it did not start"
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            yield process.pid, client
    finally:
        process.kill()
        process.wait()


def push(client: httpx.Client, written: list[tuple[str, Path]]) -> httpx.Response:
    """Each file, then the commit; the first answer that is no success, or the last."""
    files = []
    for claimed, path in written:
        file = describe(path)
        files.append({"path": claimed, "digest": file.digest, "size": file.size})
        headers = {"content-type": "application/octet-stream", "content-length": str(file.size)}
        with path.open("rb") as content:
            answer = client.put(f"/v1/uploads/{file.digest}", content=content, headers=headers)
        if answer.is_error:
            return answer
    return client.post(f"{ADAPTER}/versions", json={"files": files})


def expected(case: Case) -> tuple[str, str | None]:
    if case.param == "path":  # of the body's list of files
        return case.code, "files.0.path"
    if case.code == "body_too_large" and case.param == WEIGHTS:  # told before its bytes come
        return case.code, None
    return case.code, case.param


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_refused_over_http(every: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the corpus one in ``every``."""
    cases = [case for case in CORPUS[::every] if case.make()]  # one without files is no commit
    written = {case.what: list(case.write(tmp_path / str(number))) for number, case in enumerate(cases)}
    good = [(name, tmp_path / name) for name in (CONFIG, WEIGHTS)]
    for (_, path), (_, content) in zip(good, folder(), strict=True):
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with registry(tmp_path / "registry") as (process, client):
        body = base().model_dump_json().encode()
        client.put(f"/v1/bases/{base().digest}", content=body, headers={"content-type": "application/json"})
        assert push(client, good).status_code == 201
        memory = Memory(process)
        memory.start()
        with ThreadPoolExecutor(max_workers=2) as pool:
            answers = dict(zip(written, pool.map(lambda files: push(client, files), written.values()), strict=True))
        memory.stop()
        wrong = {}
        for case in cases:
            error = answers[case.what].json().get("error", {})
            found = (error.get("code"), error.get("param"))
            if answers[case.what].status_code >= 500 or found[0] != case.code or found != expected(case):
                wrong[case.what] = (answers[case.what].status_code, *found)
        assert not wrong
        versions = client.get(ADAPTER).json()["versions"]
        assert [version["number"] for version in versions] == [1], json.dumps(versions)
        assert push(client, good).status_code == 200, "the good one is still there"
    with capsys.disabled():
        print(f"\n{len(cases)} bad uploads: the registry took at most {memory.growth_bytes / MIB:.1f} MiB more")
    assert memory.growth_bytes < GROWTH_BYTES
