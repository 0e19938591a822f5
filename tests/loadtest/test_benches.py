"""The benchmarks' arithmetic: floors, shares, columns, and what a peer is asked."""

from __future__ import annotations

import argparse

import httpx
import pytest

from loadtest.bench_engine import Decode
from loadtest.bench_http import _server, _wanted, columns
from loadtest.errors import WrongUsage
from loadtest.floor import WEIGHT_BYTES, Probe
from loadtest.floor_cuda import DeviceProbe
from loadtest.machine import provenance
from loadtest.scenario import Work
from loadtest.sender import closed_loop


def test_the_floor_is_reading_or_multiplying_whichever_is_longer() -> None:
    probe = Probe([[2.0, 1.0]], {1: [[3.0, 0.5, 0.5]], 32: [[4.0]]}, {1: [[0.4]], 32: [[9.0]]})
    assert probe.bandwidth == WEIGHT_BYTES
    assert probe.linears_s(1) == 0.4
    assert probe.step_s(1, 0, 0) == 1.0
    assert probe.step_s(1, WEIGHT_BYTES, WEIGHT_BYTES) == 3.0
    assert probe.step_s(32, WEIGHT_BYTES, 0) == 4.0
    assert probe.step_s(32, WEIGHT_BYTES, WEIGHT_BYTES) == 5.0


def test_a_devices_floor_is_reckoned_the_same_way() -> None:
    probe = DeviceProbe([[2.0, 1.0]], {1: [[9.0, 1.5, 1.5]]}, read_bytes=WEIGHT_BYTES)
    assert probe.bandwidth == WEIGHT_BYTES
    assert probe.step_s(1, 0, 0) == 1.5
    assert probe.step_s(1, WEIGHT_BYTES, 0) == 2.0
    assert probe.step_s(1, 0, WEIGHT_BYTES) == 2.5


def test_a_copy_without_its_repository_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_COMMIT", "abc1234")
    assert provenance()["commit"] == "abc1234"


def test_shares_are_taken_round_by_round() -> None:
    base, mixed = Decode(8, 0, [[1.0, 1.0], [2.0]]), Decode(8, 8, [[2.0, 2.0], [2.5]])
    assert mixed.shares(base) == [0.5, 0.8]
    assert mixed.median_s == 2.0


def test_columns_are_chosen_by_name() -> None:
    assert [column.name for column in _wanted("base c8, 32 adapters c32")] == ["base c8", "32 adapters c32"]
    assert "1 adapter c8" in [column.name for column in columns()]
    with pytest.raises(WrongUsage, match="no column 'c8'"):
        _wanted("base c8,c8")


def test_llama_cpp_is_told_every_adapters_scale() -> None:
    asked = argparse.Namespace(url="http://peer/v1", model="base", models="", lora_ids=2)
    with _server(asked) as server:
        assert server.adapters == ("lora-0", "lora-1")
        assert server.extra["lora-1"] == {"lora": [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]}
        assert server.extra["base"] == {"lora": [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]}
    asked.model = None
    with pytest.raises(WrongUsage, match="--url needs --model"), _server(asked):
        pass


async def test_a_model_says_more_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []

    async def answer(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        bodies.append(await request.aread())
        return httpx.Response(
            200, text='data: {"choices": [{}], "usage": {"completion_tokens": 1}}\n\ndata: [DONE]\n\n'
        )

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    run = await closed_loop(
        "http://peer/v1", ["a"], Work(2, 1), concurrency=1, requests=1, extra={"a": {"lora": [7]}}
    )
    assert [sample.tokens for sample in run.samples] == [1]
    assert b'"lora":[7]' in bodies[0].replace(b" ", b"")
