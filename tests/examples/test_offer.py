"""``up --examples``: what is found, what is pushed, what is left alone and what is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from adapters_registry.api.app import create_app
from adapters_registry.client import RegistryClient
from adapters_registry.feed import Feed
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service.commands import examples
from service.commands import up as command
from service.commands.examples import Example, NoExamples, Service, find_examples, offer
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A real registry's, over HTTP."""
    feed, limits = Feed(), Limits()
    with (
        open_registry(tmp_path / "registry", limits, feed.committed) as opened,
        serving(create_app(opened, feed, limits)) as url,
    ):
        yield url


@pytest.fixture
def registry(address: str) -> Iterator[RegistryClient]:
    """With the base announced."""
    with RegistryClient(address) as client:
        client.put_base(artifacts.base())
        yield client


@pytest.fixture
def service(registry: RegistryClient, address: str) -> Iterator[Service]:
    """A gateway in name only: it knows what the registry has. The real one is in the acceptance tests."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> JSONResponse:
        model = (await request.json())["model"]
        known = [f"{adapter.tenant}/{adapter.name}" for adapter in registry.adapters()]
        return JSONResponse({"object": "chat.completion"}, 200 if model in known else 404)

    with serving(app) as url:
        yield Service(url, address, "tiny")


def write(root: Path, name: str, versions: int) -> None:
    for number in range(1, versions + 1):
        weights = artifacts.pack(artifacts.tensors(fill=number / 10))
        artifacts.folder(root / "demo" / name / str(number), weights=weights)


def offered(root: Path, service: Service) -> tuple[list[str], list[str]]:
    """The models that answered, and what was said."""
    said: list[str] = []
    answering = offer(find_examples(root), service, said.append, threading.Event())
    return [example.model for example in answering], said


def test_found_by_tenant_name_and_number(tmp_path: Path) -> None:
    write(tmp_path, "b", 11)
    write(tmp_path, "a", 1)
    (tmp_path / "data").mkdir()
    (tmp_path / "train.py").touch()
    first, second = find_examples(tmp_path)
    assert first == Example("demo", "a", (tmp_path / "demo/a/1",))
    assert [folder.name for folder in second.versions] == [str(number) for number in range(1, 12)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([], "has no adapter"),
        (["demo/a/one"], "demo/a/one is not TENANT/NAME/VERSION"),
        (["Demo/a/1"], "is not TENANT/NAME/VERSION"),
        (["demo/a/1", "demo/a/3"], "has no version 2"),
        (["demo/a/2"], "has no version 1"),
    ],
)
def test_a_wrong_folder_is_named(made: list[str], told: str, tmp_path: Path) -> None:
    for path in made:
        artifacts.folder(tmp_path / path)
    with pytest.raises(NoExamples, match=told):
        find_examples(tmp_path)


def test_up_refuses_a_wrong_folder_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.up(["--examples", str(tmp_path / "nowhere")]) == 2
    assert "--examples" in (told := capsys.readouterr().err)
    assert "nowhere is not a folder" in told


def test_pushed_in_order_with_the_first_live(tmp_path: Path, registry: RegistryClient, service: Service) -> None:
    write(tmp_path, "one", 1)
    write(tmp_path, "three", 3)
    answering, said = offered(tmp_path, service)
    assert answering == ["demo/one", "demo/three"]
    assert said == ["example demo/one pushed (1 version)", "example demo/three pushed (3 versions)"]
    stored = registry.adapter("demo", "three")
    assert [version.number for version in stored.versions] == [1, 2, 3]
    assert [(alias.alias, alias.version) for alias in stored.aliases] == [("production", 1)]
    weights = registry.version(stored.versions[2].digest).manifest.file("adapter_model.safetensors")
    assert weights in artifacts.files(tmp_path / "demo/three/3")


def test_what_the_registry_has_is_left_alone(tmp_path: Path, registry: RegistryClient, service: Service) -> None:
    write(tmp_path, "a", 2)
    offered(tmp_path, service)
    registry.promote("demo", "a", 2)
    registry.delete_version("demo", "a", 1)
    before = registry.adapter("demo", "a")
    assert offered(tmp_path, service) == (["demo/a"], [])
    assert registry.adapter("demo", "a") == before


def test_what_was_taken_out_of_service_stays_out(tmp_path: Path, registry: RegistryClient, service: Service) -> None:
    write(tmp_path, "a", 1)
    offered(tmp_path, service)
    registry.delete_alias("demo", "a", "production")
    answering, (said,) = offered(tmp_path, service)
    assert answering == []
    assert "demo/a: left as it is" in said


def test_a_refused_one_is_told_and_the_others_go_on(tmp_path: Path, service: Service) -> None:
    artifacts.folder(tmp_path / "demo/a/1", settings=artifacts.config(use_dora=True))
    write(tmp_path, "b", 1)
    answering, said = offered(tmp_path, service)
    assert answering == ["demo/b"]
    assert said[0].startswith("example demo/a: use_dora is not supported yet")


def test_a_registry_that_is_down_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a", 1)
    answering, (said,) = offered(tmp_path, Service("http://127.0.0.1:1", "http://127.0.0.1:1", "tiny"))
    assert answering == []
    assert "does not answer" in said


@pytest.mark.parametrize("wrong", ["base", "gateway"])
def test_what_never_comes_is_told(
    wrong: str, tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "LIMIT_S", 0.3)
    write(tmp_path, "a", 1)
    absent = {
        "base": Service(service.url, service.registry, "other"),
        "gateway": Service(service.registry, service.registry, "tiny"),  # which has no such route
    }
    answering, said = offered(tmp_path, absent[wrong])
    assert answering == []
    assert {"base": "base other was not announced", "gateway": "404"}[wrong] in said[-1]


def test_nothing_is_begun_after_a_stop(tmp_path: Path, registry: RegistryClient, service: Service) -> None:
    write(tmp_path, "a", 1)
    stop = threading.Event()
    stop.set()
    assert offer(find_examples(tmp_path), service, print, stop) == ()
    assert list(registry.adapters()) == []
