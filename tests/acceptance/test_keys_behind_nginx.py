"""README's lines behind a real nginx with an ingress' headers, with a key: all are served."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance import readme
from tests.acceptance.nginx import nginx
from tests.acceptance.plane import Plane
from tests.acceptance.up import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Fronts:
    """Both planes behind nginx, and an operator's key."""

    api: str
    registry: str
    key: str

    def run(self, *command: str, said: str = "") -> str:
        """The output of a command that has the key in its environment."""
        environment = {**os.environ, "QUICKCHANGE_API_KEY": self.key}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, input=said, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def quickchange(self, *words: str, said: str = "") -> str:
        return self.run(sys.executable, "-m", "service", *words, said=said)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.api, headers={"authorization": f"Bearer {self.key}"}, timeout=60)


@pytest.fixture(scope="module")
def fronts(keyed_up: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    with nginx(tmp_path_factory.mktemp("nginx"), [keyed_up.up.port, keyed_up.up.registry_port]) as (api, registry):
        yield Fronts(api, registry, keyed_up.operator_key)


def test_curl(fronts: Fronts) -> None:
    lines = readme.block("bash", "curl").replace(readme.API, fronts.api)
    lines = lines.replace("curl -s", 'curl -s -H "Authorization: Bearer $QUICKCHANGE_API_KEY"')
    said = fronts.run("bash", "-c", lines)
    assert said.count('"content"') == 4
    assert "Arr, matey!" in said


def test_the_openai_client(fronts: Fronts) -> None:
    program = readme.block("python", "OpenAI(").replace(readme.API, fronts.api)
    assert program.count('api_key="none"') == 1
    assert len(fronts.run(sys.executable, "-c", program.replace('"none"', repr(fronts.key)))) > 10


def test_the_registrys_verbs(fronts: Fronts, folders: list[Path], tmp_path: Path) -> None:
    names = {"FOLDER": str(folders[2]), "./back": str(tmp_path / "back")}
    verbs = [[names.get(word, word) for word in words] for words in readme.commands("quickchange promote")]
    assert [words[0] for words in verbs] == ["promote", "rollback", "push", "list", "pull"]
    for words in verbs + readme.commands("keys create"):
        assert fronts.quickchange(*words, "--registry", fronts.registry)
    pulled = tmp_path / "back" / "adapter_model.safetensors"
    assert pulled.read_bytes() == (folders[2] / pulled.name).read_bytes()


def test_a_chat_and_the_status(fronts: Fronts) -> None:
    assert fronts.quickchange("chat", "demo/pirate", "--url", fronts.api, said="Hello!\n").strip()
    assert fronts.quickchange("status", "--url", fronts.api, "--registry", fronts.registry)


def test_ids_are_the_clients_or_nginxs_and_connections_are_kept(fronts: Fronts) -> None:
    with fronts.client() as client:
        assert client.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        made = [client.get("/v1/models") for _ in range(20)]
    assert {answer.status_code for answer in made} == {200}
    assert len({answer.headers["x-request-id"] for answer in made}) == 20


def test_streams_come_as_they_are_made_and_a_hang_up_ends_them(fronts: Fronts) -> None:
    body = {"model": "demo/brief", "prompt": "Once", "max_tokens": 1500, "stream": True, "ignore_eos": True}
    with fronts.client() as client:
        with client.stream("POST", "/v1/completions", json=body) as answer:
            assert next(answer.iter_lines()).startswith("data: {")
            eventually(lambda: _running(client) == 1)
        eventually(lambda: _running(client) == 0)


def _running(client: httpx.Client) -> float:
    families = text_string_to_metric_families(client.get("/metrics").raise_for_status().text)
    return sum(s.value for family in families for s in family.samples if s.name == "vllm:num_requests_running")
