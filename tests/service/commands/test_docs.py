"""What the operators' pages say: tables against the code, every setting named, every command run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from adapters_registry.access import Scope, parse_key
from adapters_registry.api.auth import Requirement, owners
from adapters_registry.api.routes import FAMILIES
from adapters_registry.client import RegistryClient
from adapters_registry.settings import RegistrySettings
from service import cli
from service.settings import Settings
from tests.adapters_registry import artifacts

ROOT = Path(__file__).parents[3]
REGISTRY, OPERATIONS, CLIENTS = (ROOT / "docs" / name for name in ("registry.md", "operations.md", "clients.md"))


def routes() -> list[str]:
    """The table of docs/registry.md."""
    found = [route for family in FAMILIES for route in family.router.routes if isinstance(route, APIRoute)]
    rows = []
    for route in sorted(found, key=lambda route: (route.path, sorted(route.methods))):
        owner = next(owners(route))
        scopes = (
            " ".join(f"`{scope}`" for scope in sorted(owner.scopes)) if isinstance(owner, Requirement) else "open"
        )
        everywhere = ", all tenants" if isinstance(owner, Requirement) and owner.everywhere else ""
        rows += [f"| `{method} {route.path}` | {scopes}{everywhere} |" for method in sorted(route.methods)]
    return rows


def test_the_table_of_routes_is_the_codes() -> None:
    shown = [
        line for line in REGISTRY.read_text().splitlines() if re.match(r"\| `(DELETE|GET|HEAD|PATCH|POST|PUT) ", line)
    ]
    assert shown == routes()


def test_every_scope_is_explained() -> None:
    assert re.findall(r"^\| `([a-z:]+)` \| [a-z]", REGISTRY.read_text(), re.MULTILINE) == list(Scope)


def settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


@pytest.mark.parametrize("page", [REGISTRY, OPERATIONS, CLIENTS], ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {
        "QUICKCHANGE_API_KEY",
        *settings(Settings, "QUICKCHANGE_"),
        *settings(RegistrySettings, "QUICKCHANGE_REGISTRY_"),
    }
    named = set(re.findall(r"QUICKCHANGE_[A-Z_]+[A-Z]", page.read_text()))
    assert named - known == set()
    assert named


def test_every_verb_of_an_operator_is_shown() -> None:
    text = REGISTRY.read_text() + OPERATIONS.read_text()
    shown = set(re.findall(r"^(?:\w+=\$\()?quickchange (\w+)", text, re.MULTILINE))
    assert set(cli.TABLE) - {"chat", "list", "feedback", "up", "status", "delete"} <= shown


def script(page: Path) -> str:
    """All of a page's ``bash`` blocks, one after the other."""
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))


def run(page: Path, directory: Path, **variables: str) -> None:
    """In bash, from ``directory``, ended by the first command that fails."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | variables | {"PATH": programs}
    environment.pop("QUICKCHANGE_API_KEY", None)
    command = ["bash", "-euo", "pipefail", "-c", script(page)]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.acceptance
def test_every_command_about_the_registry_runs(url: str, tmp_path: Path) -> None:
    for name, fill in (("support", 0.1), ("support-2", 0.2)):
        artifacts.folder(tmp_path / name, weights=artifacts.pack(artifacts.tensors(fill)))
    (tmp_path / "rows.jsonl").write_text("{}")
    run(REGISTRY, tmp_path, QUICKCHANGE_REGISTRY_URL=url)
    key = (tmp_path / "operator.key").read_text().strip()
    with RegistryClient(url, key=key) as client:
        (adapter,) = client.adapters("acme")
        assert [(alias.alias, alias.version) for alias in adapter.aliases] == [("canary", 2), ("production", 2)]
        assert [key.name for key in client.keys("acme")] == ["trainer", "app", "trainer"]
    assert (tmp_path / "back" / "adapter_config.json").is_file()


@pytest.mark.acceptance
def test_every_command_of_backup_and_restore_runs(url: str, tmp_path: Path) -> None:
    places = {
        name: str(tmp_path / place) for name, place in (("DATA_DIR", "data"), ("BACKUP", "b"), ("RESTORED", "r"))
    }
    folder = artifacts.folder(tmp_path / "support")
    with RegistryClient(url) as client:
        client.push(folder, "acme", "support")
    run(OPERATIONS, tmp_path, **places)
    assert sorted(path.name for path in (tmp_path / "r" / "blobs" / "sha256").glob("*/*")) == sorted(
        file.digest.removeprefix("sha256:") for file in artifacts.files(folder)
    )
    assert parse_key((tmp_path / "admin.key").read_text().strip()) is not None
