"""The whole loop in real processes: ready, answer, push, promote, survive the registry."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from loadtest.adapters import write_random_lora
from service.base import prepare_base
from service.settings import Settings
from tests.acceptance.up import Up, eventually

pytestmark = pytest.mark.acceptance

BASE = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def client(up: Up) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0, timeout=60.0) as client:
        yield client


def ask(client: openai.OpenAI, model: str) -> tuple[str, Mapping[str, str]]:
    """A greedy answer, and the headers it came with."""
    answer = client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        max_tokens=12,
        temperature=0,
    )
    return answer.parse().choices[0].message.content or "", answer.headers


def knows(client: openai.OpenAI, model: str) -> bool:
    try:
        client.models.retrieve(model)
    except openai.NotFoundError:
        return False
    return True


def test_the_base_answers_the_official_client(client: openai.OpenAI) -> None:
    assert BASE in [model.id for model in client.models.list()]
    content, headers = ask(client, BASE)
    assert "Paris" in content
    assert headers["x-adapter"] == BASE
    streamed = client.chat.completions.create(
        model=BASE,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        max_tokens=12,
        temperature=0,
        stream=True,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == content


def test_an_adapter_is_pushed_promoted_and_answers(up: Up, client: openai.OpenAI, folders: list[Path]) -> None:
    base_answer, _ = ask(client, BASE)
    up.quickchange("push", str(folders[0]), "default/x")
    eventually(lambda: knows(client, "default/x"))
    first, headers = ask(client, "default/x")
    assert headers["x-adapter"] == "default/x@1"
    assert first != base_answer
    up.quickchange("push", str(folders[1]), "default/x")
    assert ask(client, "default/x")[0] == first
    up.quickchange("promote", "default/x@2")
    second, headers = eventually(
        lambda: ask(client, "default/x"), until=lambda answer: answer[1]["x-adapter"] == "default/x@2"
    )
    assert second != first
    assert headers["x-adapter-digest"].startswith("sha256:")
    again, headers = ask(client, "default/x@1")
    assert (again, headers["x-adapter"]) == (first, "default/x@1")


def test_an_adapter_of_huge_weights_ends_nobody_elses_answer(
    up: Up, client: openai.OpenAI, folders: list[Path], tmp_path: Path
) -> None:
    checkpoint = prepare_base(Settings(), print).path
    huge = write_random_lora(checkpoint, tmp_path / "huge", rank=8, seed=1, strength=1e30)
    up.quickchange("push", str(folders[0]), "default/beside")
    up.quickchange("push", str(huge), "default/huge")
    eventually(lambda: knows(client, "default/huge"))
    alone = {model: ask(client, model)[0] for model in (BASE, "default/beside")}

    def refused(_: int) -> str | None:
        with pytest.raises(openai.UnprocessableEntityError) as error:
            ask(client, "default/huge")
        return error.value.code

    with ThreadPoolExecutor(9) as pool:
        codes = pool.map(refused, range(3))
        beside = [(model, pool.submit(ask, client, model)) for model in alone for _ in range(3)]
        assert list(codes) == ["non_finite_logits"] * 3
        assert all(answer.result()[0] == alone[model] for model, answer in beside)
    (replica,) = httpx.get(f"{up.url}/v1/adapters/residency").json()["data"]
    (shown,) = [one for one in replica["adapters"] if one["adapter"] == "default/huge@1"]
    assert (shown["state"], shown["error"]) == ("quarantined", "non_finite_logits")
    assert 0 < shown["retry_after_s"] <= 300
    scraped = httpx.get(f"{up.url}/metrics").text
    assert re.search(r'quickchange_adapter_quarantines_total\{[^}]*reason="trial"[^}]*\} 1\.0', scraped)


def test_no_registry_no_matter(up: Up, client: openai.OpenAI, folders: list[Path]) -> None:
    up.quickchange("push", str(folders[0]), "default/resident")
    eventually(lambda: knows(client, "default/resident"))
    digest = ask(client, "default/resident")[1]["x-adapter-digest"]
    over = threading.Event()

    def traffic() -> list[str]:
        """Whose answers came until ``over``; an error ends the test."""
        digests = []
        while not over.is_set():
            digests.append(ask(client, "default/resident")[1]["x-adapter-digest"])
        return digests

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(traffic) for _ in range(4)]
        try:
            time.sleep(1)
            (registry,) = up.processes("adapters_registry")
            registry.kill()
            registry.wait()
            assert ask(client, "default/resident")[1]["x-adapter-digest"] == digest
            assert httpx.get(f"{up.url}/ready").status_code == 200
            # Nobody helps: it is started again, and the gateway follows it again.
            eventually(lambda: httpx.get(f"{up.registry}/health").status_code == 200)
            time.sleep(1)
        finally:
            over.set()
        answered = [found for one in clients for found in one.result(60)]
    assert len(answered) >= 4
    assert set(answered) == {digest}  # not the text: in bfloat16 it may depend on the batch
    up.quickchange("push", str(folders[1]), "default/after")
    eventually(lambda: knows(client, "default/after"))
    assert ask(client, "default/after")[1]["x-adapter"] == "default/after@1"


def test_requests_are_logged_where_it_says(up: Up, client: openai.OpenAI) -> None:
    log = Path(json.loads(up.quickchange("status", "--json", "--url", up.url))["request_log"])
    assert log == up.data_dir / "logs" / "gateway.log"
    assert f"requests   {log}" in up.log.read_text()
    httpx.get(f"{up.url}/ready")
    ask(client, BASE)
    eventually(lambda: "/v1/chat/completions" in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert not any(line.get("route") in ("/ready", "/health") for line in lines)


def test_a_second_start_is_told_what_is_in_the_way(up: Up, tmp_path: Path) -> None:
    elsewhere = Up(tmp_path / "data", tmp_path / "log", registry_port=up.registry_port)
    same_data = Up(up.data_dir, tmp_path / "log")
    same_port = Up(tmp_path / "data", tmp_path / "log", port=up.port)
    for wrong, reason in [
        (same_port, f"cannot listen on 127.0.0.1:{up.port}"),
        (elsewhere, f"cannot listen on 127.0.0.1:{up.registry_port}"),
        (same_data, f"another `quickchange up` uses {up.data_dir}"),
    ]:
        done = subprocess.run(wrong.command(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert reason in done.stderr
    done = subprocess.run(same_port.command("--engine.threads", "0"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--engine.threads" in done.stderr
