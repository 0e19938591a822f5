"""Processes of a service are killed: nobody waits for ever, nothing acknowledged is lost, and it comes back."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from tests.acceptance.plane import Small
from tests.acceptance.small import CONTEXT
from tests.acceptance.up import START_S, Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

RECORDER = "ServeReplica:quickchange:Recorder"
BACK_S = 120.0
"""Within it a replica or a gateway is replaced, on a machine that does much else."""
LONG = CONTEXT // 2
"""Tokens that nobody waits for."""


@pytest.fixture(scope="module")
def up(small: Small) -> Up:
    return small.up


@pytest.fixture(scope="module")
def base(small: Small) -> str:
    return small.model


@pytest.fixture(scope="module")
def client(up: Up) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0, timeout=BACK_S) as client:
        yield client


def ask(client: openai.OpenAI, model: str) -> tuple[str, Mapping[str, str]]:
    """A greedy answer, and the headers it came with."""
    answer = client.completions.with_raw_response.create(model=model, prompt="Once", max_tokens=12, temperature=0)
    return answer.parse().choices[0].text, answer.headers


def stream(client: openai.OpenAI, base: str, begun: Callable[[], object]) -> str:
    """How a long stream ended."""
    chunks = client.completions.create(
        model=base, prompt="Once", max_tokens=LONG, stream=True, extra_body={"ignore_eos": True}
    )
    try:
        for at, _ in enumerate(chunks):
            if at == 1:
                begun()
    except openai.APIError as error:
        return str(error.code)
    return "finished"


def test_a_killed_replica_leaves_nobody_waiting(up: Up, client: openai.OpenAI, base: str) -> None:
    begun, before = threading.Semaphore(0), ask(client, base)[0]
    with ThreadPoolExecutor(9) as pool:
        streams = [pool.submit(stream, client, base, begun.release) for _ in range(8)]
        for _ in streams:
            assert begun.acquire(timeout=60)
        (replica,) = up.processes("EngineReplica")
        replica.kill()
        late = pool.submit(ask, client, base)  # before its first token: answered by the successor
        assert {one.result(BACK_S) for one in streams} == {"replica_failed"}
        assert late.result(BACK_S)[0] == before
    assert eventually(lambda: httpx.get(f"{up.url}/ready").status_code == 200, BACK_S)


def test_a_killed_gateway_comes_back(up: Up, client: openai.OpenAI, base: str) -> None:
    before = ask(client, base)[0]
    (gateway,) = up.processes("ServeReplica:quickchange:Gateway")
    gateway.kill()
    gateway.wait()
    eventually(lambda: httpx.get(f"{up.url}/ready").status_code == 200, BACK_S)
    assert ask(client, base)[0] == before


@pytest.mark.parametrize("process", ["raylet/raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_without_ray_s_own_processes_it_is_started_again(
    up: Up, client: openai.OpenAI, base: str, small_folders: list[Path], process: str
) -> None:
    up.quickchange("push", str(small_folders[0]), "default/lasting")
    eventually(lambda: httpx.get(f"{up.url}/v1/models/default/lasting").status_code == 200)
    before = {model: ask(client, model) for model in (base, "default/lasting")}
    (registry,) = up.processes("adapters_registry")
    begun, said = threading.Event(), len(up.log.read_text())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stream, client, base, begun.set)
        assert begun.wait(60)
        (victim,) = up.processes(process)
        victim.kill()
        assert running.result(60) == "not_ready"
    eventually(lambda: "serving again after" in up.log.read_text()[said:], START_S)
    assert "died: restarting Ray and the deployments" in up.log.read_text()[said:]
    for model, (text, headers) in before.items():
        again, now = ask(client, model)
        assert (again, now.get("x-adapter-digest")) == (text, headers.get("x-adapter-digest"))
    assert up.processes("adapters_registry") == [registry]  # it went on
    assert len(up.processes("service.process.driver")) == 1


def recorded(up: Up, source: str) -> list[str]:
    """The ids of every event of ``source``, read back page by page."""
    found, after = [], ""
    while True:
        page = httpx.get(f"{up.url}/v1/feedback", params={"after": after, "limit": 1000}, timeout=30.0).json()
        if page["next"] == after:
            return found
        found += [event["id"] for event in page["data"] if event["source"] == source]
        after = page["next"]


def test_every_acknowledged_event_outlives_its_owner(up: Up, client: openai.OpenAI, base: str) -> None:
    source = uuid.uuid4().hex
    response_id = client.completions.create(model=base, prompt="Hello!", max_tokens=8).id
    acknowledged: list[str] = []
    stop = threading.Event()

    def rate() -> None:
        for i in range(100_000):
            if stop.is_set():
                return
            event = {"kind": "rating", "target": {"response_id": response_id}, "value": 1 + i % 5, "source": source}
            try:
                response = httpx.post(
                    f"{up.url}/v1/feedback",
                    json=event | {"idempotency_key": f"{source}-{threading.get_ident()}-{i}"},
                    timeout=30.0,
                )
            except httpx.TransportError:
                continue
            if response.status_code == 202:
                acknowledged.append(response.json()["data"][0]["id"])

    raters = [threading.Thread(target=rate) for _ in range(4)]
    for rater in raters:
        rater.start()
    try:
        for _ in range(2):
            eventually(lambda so_far=len(acknowledged): len(acknowledged) > so_far + 50, BACK_S)
            [owner] = up.processes(RECORDER)
            owner.kill()
            eventually(lambda gone=owner.pid: [p for p in up.processes(RECORDER) if p.pid != gone], BACK_S)
        eventually(lambda so_far=len(acknowledged): len(acknowledged) > so_far + 50, BACK_S)
    finally:
        stop.set()
        for rater in raters:
            rater.join()
    counted = Counter(recorded(up, source))
    assert set(acknowledged) <= counted.keys()
    assert set(counted.values()) == {1}
