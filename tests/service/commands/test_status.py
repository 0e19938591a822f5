"""``quickchange status`` against the real front and a real registry: well, half gone, and gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from adapters_registry.access import Scope
from adapters_registry.client import RegistryClient
from tests.adapters_registry.conftest import serving
from tests.service.api.world import BASE_NAME, World, key, says, world

FALLBACK = "torch computes instead: there is no C++ compiler"
KEYLESS = "http://127.0.0.1:1"
RESIDENCY: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "replica": "r1",
            "backend": "native avx2",
            "fallback": None,
            "running": 3,
            "waiting": 1,
            "kv_blocks_used": 12,
            "kv_blocks_total": 48,
            "adapters": [
                {
                    "adapter": "acme/support@3",
                    "digest": "sha256:" + "1" * 64,
                    "state": "ready",
                    "bytes": 3 << 20,
                    "leases": 2,
                    "idle_s": 0.0,
                    "error": None,
                    "retry_after_s": None,
                },
                {
                    "adapter": "default/mine@1",
                    "digest": "sha256:" + "2" * 64,
                    "state": "quarantined",
                    "bytes": 0,
                    "leases": 0,
                    "idle_s": 7.4,
                    "error": "a tensor is short",
                    "retry_after_s": 2.0,
                },
            ],
        },
        {
            "replica": "r2",
            "backend": "torch",
            "fallback": FALLBACK,
            "running": 0,
            "waiting": 0,
            "kv_blocks_used": 0,
            "kv_blocks_total": 48,
            "adapters": [],
        },
    ],
}
"""As the contract says it."""


@pytest.fixture
def front(tmp_path: Path) -> World:
    return world(tmp_path, says("hello"))


@pytest.fixture
def service(front: World) -> Iterator[str]:
    """The real front, with replicas' residency before it as the contract says."""

    async def residency(request: Request) -> JSONResponse:
        return JSONResponse(RESIDENCY)

    app = Starlette(routes=[Route("/v1/adapters/residency", residency), Mount("/", front.app)])
    with serving(app) as url:
        yield url


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if line]


def test_all_is_well(run, folder, url, service):
    run("push", folder(0.1), "acme/support")
    run("push", folder(0.2), "acme/support")
    code, out, err = run("status", "--url", service)
    assert (code, err) == (0, "")
    assert rows(out) == [
        ["PART", "WHERE", "STATE", "HOLDS"],
        ["service", service, "ready", "base", f"{BASE_NAME},", "3", "models"],
        ["registry", url, "reachable", "1", "adapters,", "2", "versions,", "base", "tiny"],
        ["REPLICA", "BACKEND", "RUNNING", "WAITING", "KV", "BLOCKS", "ADAPTERS", "BYTES"],
        [
            "r1",
            "native",
            "avx2",
            "3",
            "1",
            "12",
            "of",
            "48",
            "(25%)",
            "1",
            "quarantined,",
            "1",
            "ready",
            "3.0",
            "MiB",
        ],
        ["r2", "torch", "0", "0", "0", "of", "48", "(0%)", "-", "0", "B"],
        ["ADAPTER", "REPLICA", "STATE", "IN", "USE", "BY", "IDLE", "SIZE", "ERROR"],
        ["acme/support@3", "r1", "ready", "2", "-", "3.0", "MiB", "-"],
        [
            "default/mine@1",
            "r1",
            "quarantined",
            "0",
            "7",
            "s",
            "0",
            "B",
            "a",
            "tensor",
            "is",
            "short,",
            "again",
            "in",
            "2",
            "s",
        ],
        ["replicas:", *FALLBACK.split()],
    ]


def test_one_document(run, url, service):
    code, out, err = run("status", "--url", service, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found.pop("replicas") == RESIDENCY["data"]
    assert found == {
        "url": service,
        "ready": True,
        "base": BASE_NAME,
        "models": 3,
        "registry_url": url,
        "registry": {"adapters": 0, "versions": 0, "base": "tiny"},
        "request_log": None,
        "problems": [{"part": "replicas", "code": "native_unavailable", "message": FALLBACK}],
    }


def test_not_ready_is_one(run, front, service):
    front.ready = False
    code, out, _ = run("status", "--url", service)
    assert code == 1
    assert rows(out)[1][2:4] == ["not", "ready"]
    assert "service: the base model is not loaded yet" in out
    assert BASE_NAME in out


def test_a_part_that_does_not_answer_is_a_dash(run, front, url):
    strange = Starlette(
        routes=[Route("/v1/adapters/residency", lambda _: JSONResponse({"data": 3})), Mount("/", front.app)]
    )
    with serving(strange) as service:
        code, out, _ = run("status", "--url", service, "--registry", KEYLESS)
    assert code == 0  # the service answers without its registry
    assert rows(out)[2] == ["registry", KEYLESS, "not", "reachable", "-"]
    assert rows(out)[4] == ["-"] * 7
    assert "replicas: http://" in out
    assert f"registry: The registry at {KEYLESS} does not answer" in out


def test_nobody_there(run, url):
    code, out, err = run("status", "--url", KEYLESS)
    assert (code, err) == (1, "")
    assert rows(out)[1] == ["service", KEYLESS, "not", "ready", "-"]
    assert rows(out)[2][2] == "reachable"
    assert out.count("cannot reach") == 1
    assert "service, replicas, models: cannot reach" in out
    assert "start it with `quickchange up`" in out
    found = json.loads(run("status", "--url", KEYLESS, "--json")[1])
    assert (found["ready"], found["replicas"], found["models"]) == (False, None, None)
    assert [problem["part"] for problem in found["problems"]] == ["service", "replicas", "models"]


def test_with_keys_it_shows_its_own(run, url, tmp_path, monkeypatch):
    with RegistryClient(url) as nobody:
        operator = nobody.create_key("operator", [Scope.ADMIN]).key
    everything = key(None, Scope.ADMIN)
    keyed = world(tmp_path, says("hello"), keys=(everything,))
    with serving(keyed.app) as service:
        code, out, _ = run("status", "--url", service)
        assert code == 0  # it is well; more is not told without a key
        assert rows(out)[2] == ["registry", url, "refuses", "-"]
        problems = json.loads(run("status", "--url", service, "--json")[1])["problems"]
        assert {problem["part"]: problem["code"] for problem in problems} == dict.fromkeys(
            ("replicas", "models", "registry"), "invalid_key"
        )
        file = tmp_path / "operator.key"
        file.write_text(f"{everything.text}\n")
        found = json.loads(run("status", "--url", service, "--json", "--key-file", str(file))[1])
        assert [problem["part"] for problem in found["problems"]] == ["registry"]  # which has other keys here
        monkeypatch.setenv("QUICKCHANGE_API_KEY", operator)
        found = json.loads(run("status", "--url", service, "--json")[1])
        assert found["registry"] == {"adapters": 0, "versions": 0, "base": "tiny"}
        assert {problem["part"] for problem in found["problems"]} == {"replicas", "models"}


def test_what_the_gateway_found_wrong_with_the_registry(run, front, tmp_path):
    async def residency(request: Request) -> JSONResponse:
        known = {"keys_lost": True, "restored_at": 1_800_000_000.0, "contested_keys": ["abcdefghijkl", "b" * 12]}
        return JSONResponse(RESIDENCY | {"registry": known})

    app = Starlette(routes=[Route("/v1/adapters/residency", residency), Mount("/", front.app)])
    with serving(app) as service:
        code, out, _ = run("status", "--url", service)
        found = json.loads(run("status", "--url", service, "--json")[1])
    assert code == 0
    assert "gateway: the registry has lost its API keys" in out
    assert "another history at 2027-01-15" in out
    assert "revoke them again (refused here): abcdefghijkl, bbbbbbbbbbbb" in out
    assert [problem["code"] for problem in found["problems"]] == [
        "keys_lost",
        "registry_restored",
        "contested_keys",
        "native_unavailable",
    ]


def test_addresses_that_are_none(run):
    assert run("status", "--url", "localhost:8000")[0] == 2
    assert run("status", "--registry", "localhost")[0] == 2
