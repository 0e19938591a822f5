"""Without keys only programs of this machine are answered: not through a proxy, and no page of another origin."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance import readme
from tests.acceptance.browser import Browser, Site, browser, site
from tests.acceptance.nginx import nginx
from tests.acceptance.up import Up, free_port

pytestmark = pytest.mark.acceptance

MODEL = "demo/brief"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4})
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def fronts(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Gateway and registry behind nginx."""
    with nginx(tmp_path_factory.mktemp("nginx"), [up.port, up.registry_port]) as urls:
        yield urls


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def stranger() -> Iterator[Site]:
    """An origin of no list."""
    with site(free_port()) as found:
        yield found


@pytest.fixture(scope="module")
def listed(up: Up) -> Iterator[Site]:
    """The origin that both planes' ``cors_origins`` name."""
    (origin,) = json.loads(up.variables["QUICKCHANGE_CORS_ORIGINS"])
    with site(int(origin.rpartition(":")[2])) as found:
        yield found


def refused(answer: httpx.Response) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "keyless_refused")
    assert "keys create" in error["message"]


def refusals(up: Up) -> float:
    """Requests that were refused for want of a key so far."""
    lines = httpx.get(f"{up.url}/metrics").raise_for_status().text.splitlines()
    found = [line for line in lines if line.startswith("quickchange_request_errors_total") and "keyless" in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


# -- behind a proxy ------------------------------------------------------------------------------------------------


def test_a_proxys_requests_are_told_the_remedy(up: Up, fronts: list[str]) -> None:
    api, registry = fronts
    refused(httpx.get(f"{api}/v1/models"))
    refused(httpx.post(f"{api}/v1/chat/completions", content=BODY, headers=JSON))
    refused(httpx.get(f"{api}/metrics"))
    refused(httpx.get(f"{registry}/v1/adapters"))
    refused(httpx.post(f"{registry}/v1/keys", json={"name": "mine", "scopes": ["admin"]}))
    assert httpx.get(f"{up.url}/v1/models").status_code == 200


def test_readmes_lines_behind_a_proxy_name_the_remedy(fronts: list[str]) -> None:
    api, registry = fronts
    lines = readme.block("bash", "curl").replace(readme.API, api).partition(" | python3")[0] + "; done"
    said = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60).stdout
    assert said.count("keys create") == 4
    client = openai.OpenAI(base_url=f"{api}/v1", api_key="none")
    with client, pytest.raises(openai.PermissionDeniedError, match="keys create"):
        client.models.list()
    command = [sys.executable, "-m", "service", "list", "--registry", registry]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "keys create" in done.stderr


# -- in a browser --------------------------------------------------------------------------------------------------


def test_a_page_of_another_origin_gets_nothing_done(up: Up, chromium: Browser, stranger: Site) -> None:
    before, keys = refusals(up), httpx.get(f"{up.registry}/v1/keys").json()
    chat = f"{up.url}/v1/chat/completions"
    key = json.dumps({"name": "mine", "scopes": ["admin"]})
    asked: list[tuple[str, dict[str, Any]]] = [
        (chat, {"method": "POST", "body": BODY}),  # no preflight: a form could send it
        (chat, {"method": "POST", "body": BODY, "mode": "no-cors"}),
        (f"{up.url}/v1/models", {"mode": "no-cors"}),
        (chat, {"method": "POST", "body": BODY, "headers": JSON}),  # with one
        (f"{up.registry}/v1/keys", {"method": "POST", "body": key, "mode": "no-cors"}),
        (f"{up.registry}/v1/keys", {"method": "POST", "body": key, "headers": JSON}),
    ]
    told = chromium.page(stranger, *asked)
    opaque = {"type": "opaque", "status": 0, "adapter": None, "text": None}
    assert told == [{"error": "TypeError"}, opaque, opaque, {"error": "TypeError"}, opaque, {"error": "TypeError"}]
    assert refusals(up) == before + 3  # what came without a preflight; the other never came
    assert httpx.get(f"{up.registry}/v1/keys").json() == keys


def test_a_name_that_was_bound_to_this_machine_gets_nothing(up: Up, chromium: Browser) -> None:
    told = chromium.text(
        f"http://rebound.example:{up.port}/v1/models", "--host-resolver-rules=MAP rebound.example 127.0.0.1"
    )
    assert "keyless_refused" in told
    assert MODEL not in told
    assert MODEL in chromium.text(f"{up.url}/v1/models")  # somebody who types the address is no page


def test_a_page_of_an_origin_on_the_list_is_served(up: Up, chromium: Browser, listed: Site) -> None:
    whole, streamed, models, adapters = chromium.page(
        listed,
        (f"{up.url}/v1/chat/completions", {"method": "POST", "body": BODY, "headers": JSON}),
        (
            f"{up.url}/v1/chat/completions",
            {"method": "POST", "body": json.dumps(json.loads(BODY) | {"stream": True}), "headers": JSON},
        ),
        (f"{up.url}/v1/models", {"headers": {"Authorization": "Bearer none"}}),
        (f"{up.registry}/v1/adapters", {}),
    )
    assert (whole["type"], whole["status"], whole["adapter"]) == ("cors", 200, f"{MODEL}@1")
    assert json.loads(whole["text"])["choices"]
    assert streamed["text"].endswith("data: [DONE]\n\n")
    assert MODEL in models["text"]
    assert (adapters["type"], adapters["status"]) == ("cors", 200)


def test_serve_obeys_no_client_s_header_and_the_listener_reads_no_head_without_end(up: Up) -> None:
    headers = JSON | {
        "X-Request-ID": "mine",
        "X-Session-Id": "s",
        "X-Request-Timeout-Seconds": "0.001",
        "X-Request-Disconnect-Disabled": "?1",
        "serve_multiplexed_model_id": "m",
    }
    answer = httpx.post(f"{up.url}/v1/chat/completions", content=BODY, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == "mine"
    assert answer.json()["id"] == f"chatcmpl-{answer.headers['x-quickchange-request-id']}"
    with socket.create_connection(("127.0.0.1", up.port), 20) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nx-a: " + b"a" * 40_000)
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 431 ")
    assert 'refused_total{reason="headers_too_large"} 1.0' in httpx.get(f"{up.url}/metrics").text
