"""A flood of requests does not fill the disk: probes leave no line, and the files of other lines are bounded."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.acceptance.plane import running_small

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1200)]

PROBES = 45_000
REQUESTS = 5_000
AT_ONCE = 16
FILE_BYTES = 65_536
FILES = 3
RAYS_BYTES = 2 << 20
"""What Ray's own files may grow by meanwhile, whatever is asked of the service."""


async def flood(url: str, paths: tuple[str, ...], count: int) -> set[int]:
    """The statuses of ``count`` requests."""
    left = iter(range(count))

    async def client(http: httpx.AsyncClient) -> set[int]:
        return {(await http.get(paths[number % len(paths)])).status_code for number in left}

    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        return set().union(*await asyncio.gather(*(client(http) for _ in range(AT_ONCE))))


def size(directory: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in directory.rglob(pattern) if path.is_file() and not path.is_symlink())


async def test_tens_of_thousands_of_requests(small_base: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="l") as ray:  # a short one, or Ray's is elsewhere
        limits = {"QUICKCHANGE_LOGS__FILE_BYTES": str(FILE_BYTES), "QUICKCHANGE_LOGS__FILES": str(FILES)}
        with running_small(tmp_path, small_base, TMPDIR=ray, **limits) as small:
            logs, before = small.up.data_dir / "logs", size(Path(ray))
            assert before > 0, "Ray's directory is where this test looks"
            assert await flood(small.up.url, ("/health", "/ready"), PROBES) == {200}
            assert "/health" not in (logs / "gateway.log").read_text()
            assert await flood(small.up.url, ("/v1/models",), REQUESTS) == {200}
            assert FILE_BYTES < size(logs, "gateway.log*") <= FILES * FILE_BYTES
            assert size(Path(ray)) - before <= RAYS_BYTES
