"""Fuzzed requests break neither plane, and the fuzzer would see it if they did."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.raw import ROUTES, request
from tests.fuzz.run import Seen, fuzz


async def test_no_request_breaks_a_plane() -> None:
    result = await fuzz(400, 1, described=False)
    assert result["ok"], result
    assert {f"{plane} {status}" for plane in ROUTES for status in (200, 400, 401, 404)} <= set(result["statuses"])


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
async def test_nor_do_a_hundred_thousand() -> None:
    result = await fuzz(100_000, 1)
    assert result["ok"], result


def test_the_requests_are_the_same_again() -> None:
    made = [[request(random.Random(seed), plane, "key") for seed in range(50)] for plane in (*ROUTES, *ROUTES)]
    assert made[:2] == made[2:]


def error(status: int, code: str) -> bytes:
    return f'HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\r\n{{"error": {{"code": "{code}"}}}}'.encode()


@pytest.mark.parametrize(
    ("got", "broken"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n{}", False),
        (b"", False),
        (error(400, "invalid_value"), False),
        (error(503, "not_ready"), False),
        (error(507, "storage_full"), False),
        (error(503, "made_up"), True),
        (error(500, "internal_error"), True),
        (error(502, "not_ready"), True),
        (b"HTTP/1.1 503 X\r\n\r\nInternal", True),
        (b"\x00\x01", True),
    ],
)
def test_what_counts_as_broken(got: bytes, broken: bool) -> None:
    seen = Seen()
    seen.answer("gateway", b"GET / HTTP/1.1\r\n\r\n", got)
    assert bool(seen.broken) == broken
