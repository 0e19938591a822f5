"""The command line against the real service: chat in a pipe, pull, status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from adapters_registry.folder import CONFIG, WEIGHTS
from tests.acceptance.up import Up, eventually

pytestmark = pytest.mark.acceptance

BASE = "smollm2-135m-instruct"
WILD, OTHER = "clitest/wild", "clitest/other"
GREEDY = ("--temperature", "0", "--max-tokens", "12")
QUESTION = "What is the capital of France?"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", *arguments]


def chat(up: Up, *lines: str, arguments: tuple[str, ...] = GREEDY) -> subprocess.CompletedProcess[str]:
    """What a chat says to ``lines``."""
    typed = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        command("chat", "--url", up.url, *arguments), input=typed, capture_output=True, text=True, timeout=120
    )


def asked(up: Up, model: str) -> str:
    """The greedy answer to ``QUESTION`` over plain HTTP."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 12}
    answer = httpx.post(f"{up.url}/v1/chat/completions", json=body, timeout=60).raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def pushed(up: Up, folders: list[Path]) -> list[Path]:
    """The folders that ``WILD`` and ``OTHER`` were pushed from; the service knows both."""
    for model, folder in zip((WILD, OTHER), folders, strict=False):
        up.quickchange("push", str(folder), model)
        eventually(lambda model=model: httpx.get(f"{up.url}/v1/models/{model}").status_code == 200)
    return folders[:2]


def test_a_chat_in_a_pipe(up: Up, pushed: list[Path]) -> None:
    done = chat(up, QUESTION, f"/adapter {WILD}", "/clear", QUESTION)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{asked(up, BASE)}\n{asked(up, WILD)}\n"
    assert "Paris" in done.stdout
    weights = [line.partition(",")[0] for line in done.stderr.splitlines()]
    assert weights == [BASE, f"switched to {WILD} ({WILD}@1)", f"{WILD}@1"]


def test_judgements_are_recorded_of_the_answers_that_were_seen(up: Up, pushed: list[Path]) -> None:
    done = chat(up, f"/compare {WILD} {OTHER} {QUESTION}", "b", "/good", "/correct Paris.")
    assert done.returncode == 0, done.stderr
    recorded = [line.removeprefix("recorded as ") for line in done.stderr.splitlines() if line.startswith("recorded")]
    assert len(recorded) == 3
    page = httpx.get(f"{up.url}/v1/feedback", params={"limit": 1000}).raise_for_status().json()["data"]
    events = {event["id"]: event for event in page}
    preference, good, correction = (events[id] for id in recorded)
    assert (preference["kind"], preference["value"], preference["source"]) == ("preference", "b", "chat")
    assert good["target"] == correction["target"] == preference["target"]["b"]
    assert (good["value"], correction["value"]) == (True, "Paris.")
    # Blind: which one was a is drawn, and told afterwards.
    shown = next(line for line in done.stderr.splitlines() if line.startswith("a was "))
    assert sorted(shown.removeprefix("a was ").split(", b was ")) == [f"{OTHER}@1", f"{WILD}@1"]
    versions = {f"{model}@1": json.loads(up.quickchange("show", f"{model}@1", "--json")) for model in (WILD, OTHER)}
    digests = [versions[name]["record"]["digest"] for name in shown.removeprefix("a was ").split(", b was ")]
    assert preference["digests"] == digests


def test_ctrl_c_frees_what_an_answer_held(up: Up, pushed: list[Path]) -> None:
    process = subprocess.Popen(
        command("chat", WILD, "--url", up.url, "--temperature", "0", "--max-tokens", "4000"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{QUESTION}\n".encode())
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(b"/adapters\n", timeout=60)
    assert process.returncode == 0, err
    assert f"{WILD}@1, stopped" in err.decode()
    eventually(lambda: status(up)["replicas"][0]["running"] == 0)


def test_pull_gives_back_the_bytes(up: Up, pushed: list[Path], tmp_path: Path) -> None:
    out = up.quickchange("pull", f"{OTHER}@1", str(tmp_path / "to"))
    assert out.startswith(f"{OTHER}@1  ")
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "to" / name).read_bytes() == (pushed[1] / name).read_bytes()
    assert len(list((tmp_path / "to").iterdir())) == 2


def status(up: Up) -> dict[str, Any]:
    return dict(json.loads(up.quickchange("status", "--url", up.url, "--json")))


def test_status(up: Up, pushed: list[Path]) -> None:
    chat(up, QUESTION, arguments=(WILD, *GREEDY))
    found = status(up)
    assert (found["ready"], found["base"], found["problems"]) == (True, BASE, [])
    assert found["registry"]["base"] == BASE
    assert found["registry"]["adapters"] >= 2
    (replica,) = found["replicas"]
    assert replica["kv_blocks_total"] > 0
    held = {adapter["adapter"]: adapter for adapter in replica["adapters"]}
    assert held[f"{WILD}@1"]["state"] == "ready"
    assert held[f"{WILD}@1"]["bytes"] > 0
    told = up.quickchange("status", "--url", up.url)
    assert f"{WILD}@1" in told
    assert replica["replica"] in told


def test_verbs_of_operators(up: Up, pushed: list[Path]) -> None:
    assert f"{WILD}@1" in up.quickchange("show", WILD, "--lineage")
    assert "are unchanged; the last digest is sha256:" in up.quickchange("audit", "--verify")
    assert json.loads(up.quickchange("gc", "--dry-run", "--json"))["retired"] == []
    assert "clitest" in up.quickchange("tenants", "list")


def test_what_other_machines_reach_is_rays_and_wants_its_token(up: Up) -> None:
    """What docs/operations.md says of ports."""
    found = {
        (connection.laddr.ip, connection.laddr.port): " ".join(process.cmdline())
        for process in up.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    beyond = {port: command for (ip, port), command in found.items() if not ip.startswith("127.")}
    assert not {up.port, up.registry_port} & set(beyond)
    assert {("127.0.0.1", up.port), ("127.0.0.1", up.registry_port)} <= set(found)
    # Over HTTP only figures about Ray are to be had.
    for port in beyond:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False)
        except httpx.TransportError:
            continue  # gRPC
        assert answer.text.startswith("# HELP "), beyond[port]
    control_store = next(port for port, command in beyond.items() if "gcs_server" in command)
    code = f"import ray; ray.init(address='127.0.0.1:{control_store}')"
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for token in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=stranger | token, timeout=120
        )
        assert done.returncode != 0
        assert "token" in done.stderr.lower()


def test_a_service_that_is_not_there(up: Up) -> None:
    nobody = "http://127.0.0.1:1"
    for verb in ("chat", "status"):
        done = subprocess.run(
            command(verb, "--url", nobody), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
        assert done.returncode == 1
        assert f"cannot reach {nobody}" in done.stdout + done.stderr
        assert "`quickchange up`" in done.stdout + done.stderr
