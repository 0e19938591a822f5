"""Runs the fuzzers against both planes in a process of their own, and says what broke."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
import schemathesis.openapi
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode as Mode

from adapters_registry.api import status as registry_status
from adapters_registry.api.parts import PARTIAL_TYPE
from service.api import status as gateway_status
from tests.fuzz.gateway_schema import description
from tests.fuzz.raw import request

schemathesis.openapi.media_type(PARTIAL_TYPE, st.binary(max_size=100))
schemathesis.serializer(PARTIAL_TYPE)(lambda _, value: value if isinstance(value, bytes) else str(value).encode())

AT_ONCE = 16
ANSWER_S = 30.0
"""Longest wait for the first byte of an answer to a request that ended."""
HALF_S = 1.0
"""How long a request that may have no end waits for an answer."""
ALLOWED = {503, 504, 507}
GROWTH = 64 << 20
"""Bytes that the process may be larger at the end than after the first fifth."""
KNOWN = {
    "gateway": {(row.status, error.code) for error, row in gateway_status.STATUS.items()},
    "registry": {(status, error.code) for error, status in registry_status.STATUS.items()},
}


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[dict[str, str]] = field(default_factory=list)

    def answer(self, plane: str, sent: bytes, got: bytes) -> None:
        """Nothing at all is an answer to what is no whole request."""
        head, _, body = got.partition(b"\r\n\r\n")
        if not got:
            self.statuses[f"{plane} none"] += 1
            return
        if not got.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            self.broke(plane, "no HTTP", sent, got)
            return
        status = int(head[9:12])
        self.statuses[f"{plane} {status}"] += 1
        if status >= 500 and not _is_known(plane, status, body):
            self.broke(plane, f"status {status}", sent, got)

    def broke(self, plane: str, what: str, sent: bytes, got: bytes) -> None:
        if len(self.broken) < 20:
            shown = base64.b64encode(sent[:4000]).decode()
            self.broken.append({"plane": plane, "what": what, "sent": shown, "got": repr(got[:300])})


def _is_known(plane: str, status: int, body: bytes) -> bool:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        code = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["error"]["code"]
        return status in ALLOWED and (status, code) in KNOWN[plane]
    return False


@dataclass(frozen=True, slots=True)
class Plane:
    name: str
    port: int
    key: str


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.subprocess.Process, list[Plane]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz.serve", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = json.loads(await process.stdout.readline())
        yield process, [Plane(name, one["port"], one["key"]) for name, one in told.items()]
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            process.kill()


async def fuzz(count: int, seed: int, *, described: bool = True) -> dict[str, Any]:
    """``described``: a fifth of the requests come from the planes' descriptions."""
    seen = Seen()
    async with served() as (process, planes):
        raw = count * 4 // 5 if described else count
        warm = raw // 5
        await _raw(planes, warm, seed, seen)
        before = _resident(process)
        await _raw(planes, raw - warm, seed + 1, seen)
        if described:
            for plane in planes:
                await asyncio.to_thread(_described, plane, (count - raw) // len(planes), seen)
        after = _resident(process)
        alive = process.returncode is None and all([await _is_well(plane) for plane in planes])
    return {
        "requests": count,
        "seed": seed,
        "statuses": dict(sorted(seen.statuses.items())),
        "resident_mib": [before >> 20, after >> 20],
        "alive": alive,
        "broken": seen.broken,
        "ok": alive and not seen.broken and after - before <= GROWTH,
    }


def _resident(process: asyncio.subprocess.Process) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) << 12
    return 0


async def _raw(planes: list[Plane], count: int, seed: int, seen: Seen) -> None:
    async def worker(which: int) -> None:
        draw = random.Random(seed * AT_ONCE + which)
        for _ in range(count // AT_ONCE + (which < count % AT_ONCE)):
            plane = draw.choice(planes)
            sent = request(draw, plane.name, plane.key)
            seen.answer(plane.name, sent, await ask(plane.port, sent))

    await asyncio.gather(*(worker(which) for which in range(AT_ONCE)))


async def ask(port: int, sent: bytes) -> bytes:
    """The beginning of what comes back; what is not there soon is not waited for."""
    got = b""
    writer = None
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await writer.drain()
            async with asyncio.timeout(HALF_S):
                while len(got) < 4000 and (piece := await reader.read(4000)):
                    got += piece
                    if got.startswith(b"HTTP/1.1 100"):  # the answer comes after it
                        got = got.partition(b"\r\n\r\n")[2]
                    if b"\r\n\r\n" in got and not got.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")):
                        break
    if writer is not None:
        writer.transport.abort()
    return got


async def _is_well(plane: Plane) -> bool:
    got = await ask(plane.port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return got.startswith(b"HTTP/1.1 200")


def _described(plane: Plane, count: int, seen: Seen) -> None:
    """What schemathesis makes of the plane's description, good and bad."""
    url = f"http://127.0.0.1:{plane.port}"
    if plane.name == "gateway":
        schema = schemathesis.openapi.from_dict(description(url))
    else:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    schema.config.update(base_url=url)
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {plane.key}"
        for operation in operations:
            for mode in (Mode.POSITIVE, Mode.NEGATIVE):
                with contextlib.suppress(Unsatisfiable):  # what takes nothing can be given nothing bad
                    cases = operation.as_strategy(generation_mode=mode)
                    _each(plane, cases, session, count // len(operations) // 2, seen)


def _each(plane: Plane, cases: Any, session: requests.Session, count: int, seen: Seen) -> None:
    @settings(
        max_examples=max(1, count),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def send(case: Any) -> None:
        try:
            answer = case.call(session=session, timeout=ANSWER_S)
        except requests.RequestException as error:
            seen.broke(plane.name, repr(error)[:200], repr(case)[:2000].encode(), b"")
            return
        head = f"HTTP/1.1 {answer.status_code} x\r\n\r\n".encode()
        seen.answer(plane.name, repr(case)[:2000].encode(), head + answer.content)

    send()
