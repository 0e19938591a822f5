"""One tenant beside another: whose key is sent, what is compared, and traffic that wants no answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from rich.console import Console

from loadtest.client import Ask, connected
from loadtest.errors import NothingMeasured, WrongUsage
from loadtest.limits import judge
from loadtest.measure import Measure, Quantity, value
from loadtest.nuisance import FeedbackFlood, Nuisance, SlowBodies, SlowUploads, Target, bother
from loadtest.progress import Progress
from loadtest.run import Service, run
from loadtest.samples import Run, Span
from loadtest.scenario import Cast, Patient
from loadtest.scenarios.rivals import COSTLY, SAMPLED, SCENARIO
from loadtest.session import Options, check
from tests.loadtest.runs import DONE, FAILED, run_of
from tests.loadtest.server import Server

KEYS = {"victim": "qc_victim", "rival": "qc_rival"}


def test_answers_are_compared_with_those_of_the_rounds_first_phase() -> None:
    first = replace(DONE, phase="alone", prompt="p1", answer="a")
    same, other = replace(first, phase="worst"), replace(first, phase="worst", answer="b")
    foreign = replace(other, round=2)
    spans = (Span("alone", 1, 0.0, 1.0), Span("worst", 1, 1.0, 2.0), Span("alone", 2, 2.0, 3.0))
    changed = Measure(Quantity.CHANGED)
    assert value(changed, Run((first, same), spans)) == 0
    assert value(changed, Run((first, same, other, foreign, replace(other, answer=None)), spans)) == 1
    with pytest.raises(NothingMeasured):
        value(changed, Run((first, foreign), spans))


def test_only_statuses_that_help_nobody_are_server_errors() -> None:
    answered = [replace(FAILED, status=status) for status in (200, 400, 422, 429, 500, 502, 503, 504, 507, None)]
    assert value(Measure(Quantity.SERVER_ERRORS), run_of(*answered)) == 2


def test_a_service_that_runs_is_not_closed_for_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = Options(
        "http://127.0.0.1:1/v1", None, (), "http://127.0.0.1:2", None, None, tmp_path, 1.0, 1, False, False
    )
    with pytest.raises(WrongUsage, match="leave out --url"):
        check([SCENARIO], options)


async def test_the_plan_is_carried_out_with_each_tenants_key(server: Server) -> None:
    service = Service(server.url, "qc_operator", registry_url=server.url.removesuffix("/v1"), keys=KEYS)
    cast = Cast("base", ("t/a",), tuple(KEYS), ("t/b",))
    plan = SCENARIO.plan(cast, 0.05)
    done = await run(SCENARIO, plan, service, seed=1, salt="s", progress=Progress(Console(quiet=True)))
    sent = {(body["model"], key) for body, key in zip(server.bodies, server.keys, strict=True)}
    assert {key for model, key in sent if model == "t/b"} == {"Bearer qc_rival"}
    assert {key for model, key in sent if model == "t/a"} == {"Bearer qc_operator", "Bearer qc_victim"}, "warmed up"
    verdicts = {str(limit): judge(limit, done) for limit in SCENARIO.limits}
    assert all(verdict.value is not None for verdict in verdicts.values())
    assert all(verdict.held for name, verdict in verdicts.items() if "p99" not in name)


async def test_costly_requests_say_what_makes_them_so(server: Server) -> None:
    async with connected(server.url, time.perf_counter, salt="s", keys=KEYS) as client:
        await client.ask(Ask("worst", 1, "sampling", "base", 0, SAMPLED, Patient(), 0.0, math.inf, 1, "rival"))
    assert {name: server.bodies[0][name] for name, _ in COSTLY} == dict(COSTLY)
    assert server.keys == ["Bearer qc_rival"]


@asynccontextmanager
async def listening(heads: list[str]) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        if "/feedback" in head:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("nuisance", "begins"),
    [
        (SlowUploads(3), "PUT /v1/uploads/"),
        (SlowBodies(3), "POST /v1/completions HTTP/1.1"),
        (FeedbackFlood(3), "POST /v1/feedback HTTP/1.1"),
    ],
)
async def test_nuisances_come_again_and_again_and_end_on_time(nuisance: Nuisance, begins: str) -> None:
    heads: list[str] = []
    async with listening(heads) as url:
        await asyncio.wait_for(bother(nuisance, Target(f"{url}/v1", url, "qc_rival", "rival"), 0.6), 60)
    assert len(heads) > 3
    assert all(head.startswith(begins) and "Authorization: Bearer qc_rival" in head for head in heads)


async def test_nobody_there_is_no_error() -> None:
    await bother(SlowBodies(2), Target("http://127.0.0.1:1/v1", None, None, "rival"), 0.1)
