"""A disk that is full or broken at any file operation: a clean 507 or 503, nothing partial, and all is well again
with the disk, without a restart. Over HTTP, from a real process; by a shim, and on a file system that is full."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.adapters_registry import artifacts
from tests.adapters_registry.faults.served import Served
from tests.adapters_registry.faults.shim import Faults, build
from tests.adapters_registry.faults.verdict import OURS
from tests.sampling import draw

pytestmark = pytest.mark.acceptance
AT = "/v1/adapters/acme/support"
STEP = 60
"""Of so many operations the default run breaks one, drawn."""
EVER = 1 << 40
FULL = {"storage_full", "storage_failed"}


class Life:
    """Artifacts unlike each other, and the requests that bring one in, set it live and delete it."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._numbers = itertools.count(1)

    def begin(self) -> list[Callable[[], httpx.Response]]:
        """The requests of another artifact, in order. Each may be repeated: it looks first where things stand."""
        number = next(self._numbers)
        files = {
            "adapter_config.json": json.dumps(artifacts.config(lora_alpha=number)).encode(),
            "adapter_model.safetensors": artifacts.pack(artifacts.tensors(number / 1024)),
        }
        entries = [{"path": name, "digest": artifacts.sha256(d), "size": len(d)} for name, d in files.items()]
        http = self._served.http
        version: list[int] = []

        def upload(data: bytes) -> httpx.Response:
            return http.put(f"/v1/uploads/{artifacts.sha256(data)}", params={"tenant": "acme"}, content=data)

        def commit() -> httpx.Response:
            answer = http.post(f"{AT}/versions", json={"files": entries, "promote": True})
            if answer.is_success:
                version[:] = [answer.json()["record"]["number"]]
            return answer

        def move() -> httpx.Response:
            aliases = {a.alias: a for a in self._served.client.adapter("acme", "support").aliases}
            generation = aliases["canary"].generation if "canary" in aliases else 0
            return http.put(
                f"{AT}/aliases/canary", json={"version": version[0]}, headers={"if-match": f'"{generation}"'}
            )

        def delete() -> httpx.Response:
            if version[0] == 1:
                return http.get(AT)
            answer = http.delete(f"{AT}/versions/{version[0] - 1}")
            return http.get(AT) if answer.status_code == 410 else answer

        return [*(lambda data=data: upload(data) for data in files.values()), commit, move, delete]


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def faults(tmp_path, data) -> Faults:
    return Faults(build(tmp_path), tmp_path / "control", data)


@pytest.fixture
def served(data, faults) -> Iterator[Served]:
    served = Served(data, faults.environment)
    served.client.put_base(artifacts.base())
    yield served
    served.close()


def refused(answer: httpx.Response) -> str | None:
    """The code of a clean refusal; None if all went well."""
    if answer.is_success:
        return None
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) in {(507, "storage_full"), (503, "storage_failed")}, answer.text
    assert int(answer.headers["retry-after"]) > 0
    return str(error["code"])


def check(served: Served, data: Path) -> None:
    """Nothing partial is seen: what is listed can be pulled, what lies there is ours."""
    for path in data.rglob("*"):
        name = str(path.relative_to(data))
        assert path.is_dir() or OURS.fullmatch(name), name
        if name.startswith("blobs/sha256/") and path.is_file():
            assert artifacts.sha256(path.read_bytes()) == f"sha256:{path.name}"
    for adapter in served.client.adapters():
        numbers = [version.number for version in adapter.versions]
        assert numbers == sorted(set(numbers))
        for file in served.client.version(adapter.versions[-1].digest).manifest.files:
            answer = served.http.get(f"/v1/blobs/{file.digest}")
            assert artifacts.sha256(answer.content) == file.digest
    served.client.verify_audit()


def break_and_check(served, faults, data, code, step) -> Counter[str]:
    """Breaks one of each ``step`` operations until a life needs fewer; what was refused how often."""
    life, seen, drawn = Life(served), Counter(), draw(f"broken operations {code}")
    for request in life.begin():
        assert refused(request()) is None
    for first in itertools.count(1, step):
        at = drawn.randrange(first, first + step)
        requests = life.begin()
        # A full disk stays full until space returns; a broken sector is one.
        faults.set(code, at, EVER if code == errno.ENOSPC else at)
        told = next(filter(None, (refused(request()) for request in requests)), "all went well")
        if faults.clear() < at:
            assert told == "all went well", "although no operation was broken"
            return seen
        seen[told] += 1
        check(served, data)
        for request in requests:
            assert refused(request()) is None, "the disk is well again"
        check(served, data)
    raise AssertionError


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_broken_at_some_operations(served, faults, data, code):
    seen = break_and_check(served, faults, data, code, STEP)
    assert sum(seen[code] for code in FULL) > 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_broken_at_every_operation(served, faults, data, code):
    seen = break_and_check(served, faults, data, code, 1)
    print(f"{errno.errorcode[code]} at every operation of a life: {dict(seen)}")
    assert sum(seen[code] for code in FULL) > 50


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A file system of a few MiB; skips the test where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_system_that_is_really_full(small):
    """It fills up under uploads, then with what is not ours, so that not even a row can be written."""
    data, ballast = small / "data", small / "ballast"
    served = Served(data, {})
    try:
        served.client.put_base(artifacts.base())
        life = Life(served)
        for request in life.begin():
            assert refused(request()) is None
        before = served.http.get("/v1/snapshot").json()
        huge = bytes(4 << 20)
        answer = served.http.put(f"/v1/uploads/{artifacts.sha256(huge)}", params={"tenant": "acme"}, content=huge)
        assert refused(answer) == "storage_full"
        assert not [path for path in (data / "staging").rglob("*") if path.is_file()], "it gave its space back"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(4 << 20))
        requests = life.begin()
        assert next(filter(None, (refused(request()) for request in requests))) == "storage_full"
        check(served, data)
        assert served.http.get("/v1/snapshot").json() == before
        ballast.unlink()
        for request in requests:
            assert refused(request()) is None
        check(served, data)
    finally:
        served.close()
