"""``quickchange push`` with what it was made from, from the Hub, and the tree that ``show --lineage`` draws of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from adapters_registry.folder import CONFIG, WEIGHTS
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving
from tests.service.commands.conftest import document

DATA, RECIPE = ("sha256:" + hashlib.sha256(text).hexdigest() for text in (b"data", b"recipe"))
COMMIT = "c" * 40


@pytest.fixture
def family(run, folder) -> list[str]:
    """acme/support@1 → @2 → acme/brief@1, and acme/support@1 → @3, which is live."""
    told = ["--data-digest", DATA, "--training-config-digest", RECIPE, "--metric", "accuracy=0.93"]
    pushes = [
        ["acme/support"],
        ["acme/support", "--parent", "acme/support", *told],
        ["acme/support", "--parent", "acme/support@1", "--promote"],
        ["acme/brief", "--parent", "acme/support@2"],
    ]
    return [
        document(run("push", folder(0.1 + number / 10), *push, "--json"))["record"]["digest"]
        for number, push in enumerate(pushes)
    ]


def test_what_it_was_made_from_is_kept(run, family):
    shown = document(run("show", "acme/support@2", "--json"))
    assert shown["lineage"] == {
        "parent": family[0],
        "data_digest": DATA,
        "training_config_digest": RECIPE,
        "metrics": {"accuracy": 0.93},
    }


def test_the_tree_has_parents_above_their_children(run, family):
    code, out, err = run("show", "acme/support@1", "--lineage")
    assert (code, err) == (0, "")
    root, second, brief, third = out.splitlines()
    assert root.startswith("acme/support@1  ")
    assert root.endswith("<- this one")
    assert second.startswith("├── acme/support@2  ")
    assert second.endswith(f"data {DATA[7:19]}  accuracy=0.93")
    assert brief.startswith("│   └── acme/brief@1  ")
    assert "[production]" in brief
    assert third.startswith("└── acme/support@3  ")
    assert "[production]" in third
    assert "[production]" not in root + second


def test_without_a_version_it_is_the_live_one(run, family):
    _, third = run("show", "acme/support", "--lineage")[1].splitlines()
    assert third.startswith("└── acme/support@3")
    assert third.endswith("<- this one")
    nodes = document(run("show", "acme/support@2", "--lineage", "--json"))["nodes"]
    assert {(node["name"], node["number"]): node["parent"] for node in nodes} == {
        ("support", 1): None,
        ("support", 2): family[0],
        ("brief", 1): family[1],
    }


def test_a_deleted_parent_stays_in_the_tree(run, family):
    assert run("delete", "acme/support@1", "--yes")[0] == 0
    root = run("show", "acme/support@2", "--lineage")[1].splitlines()[0]
    assert root.startswith("acme/support@1")
    assert root.endswith("deleted")


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--parent", "acme/nobody"], 1, "No adapter acme/nobody"),
        (["--parent", "acme/support@9"], 1, "acme/support@9 does not exist"),
        (["--data-digest", "abc"], 2, "is no digest"),
        (["--metric", "accuracy"], 2, "NAME=NUMBER"),
    ],
)
def test_refusals(run, folder, options, code, told):
    assert run("push", folder(0.1), "acme/support")[0] == 0
    found, out, err = run("push", folder(0.2), "acme/support", *options)
    assert (found, out) == (code, "")
    assert told in err


def test_an_upload_that_broke_off_goes_on(run, url, folder):
    path = folder(0.1)
    weights = (path / WEIGHTS).read_bytes()
    upload = f"{url}/v1/uploads/{hashlib.sha256(weights).hexdigest()}?tenant=acme"
    told = {"upload-complete": "?0"}
    assert httpx.put(upload, content=weights[:100], headers=told, trust_env=False).status_code == 202
    code, out, err = run("push", path, "acme/support")
    assert code == 0
    assert out.startswith("acme/support@1  ")
    assert err == f"upload: continuing after 100 B of {len(weights)} B\n"
    assert run("push", path, "acme/support")[2] == ""


@pytest.fixture
def hub(folder) -> Iterator[str]:
    """What huggingface_hub asks of a Hub, with one adapter; beside it lies what must not be downloaded."""
    files, app = folder(0.4), FastAPI()
    for extra in ("README.md", "training_args.bin"):
        (files / extra).write_bytes(b"stays there")

    @app.get("/api/models/acme/support/revision/main")
    async def revision() -> JSONResponse:
        siblings = [{"rfilename": path.name} for path in sorted(files.iterdir())]
        return JSONResponse({"id": "acme/support", "sha": COMMIT, "siblings": siblings})

    @app.get(f"/api/models/acme/support/tree/{COMMIT}")
    async def tree() -> JSONResponse:
        return JSONResponse(
            [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
                for path in sorted(files.iterdir())
            ]
        )

    @app.api_route("/acme/support/resolve/{commit}/{name}", methods=["GET", "HEAD"])
    async def resolve(request: Request, commit: str, name: str) -> Response:
        assert name in (CONFIG, WEIGHTS)
        etag = hashlib.sha256((files / name).read_bytes()).hexdigest()
        return FileResponse(files / name, headers={"x-repo-commit": COMMIT, "etag": f'"{etag}"'})

    with serving(app) as address:
        yield address


def push_from(
    address: str, registry: str, tmp_path: Path, *, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    """In a process of its own: huggingface_hub reads its environment once."""
    environment = os.environ | {
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
        "QUICKCHANGE_CACHE_DIR": str(tmp_path / "cache"),
        "QUICKCHANGE_REGISTRY_URL": registry,
    }
    command = [sys.executable, "-m", "service", "push", "acme/support", "demo/support", "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_from_the_hub(run, hub, url, tmp_path, folder):
    done = push_from(hub, url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["record"]["number"] == 1
    shown = document(run("show", "demo/support@1", "--json"))
    assert shown["lineage"] == {"source": f"hub:acme/support@{COMMIT}"}
    assert run("pull", "demo/support", tmp_path / "back")[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        name: (folder(0.4) / name).read_bytes() for name in (CONFIG, WEIGHTS)
    }


def test_offline_it_says_so(url, tmp_path):
    done = push_from("http://127.0.0.1:1", url, tmp_path, offline=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "acme/support is no folder here and cannot be fetched from the Hub" in done.stderr
    assert "push again with a network" in done.stderr


def test_what_was_normalised_is_said_stored_and_shown(run, tmp_path):
    path = foreign_folder(tmp_path)
    code, out, err = run("push", path, "acme/support")
    assert (code, err) == (0, "")
    first, live, *notes = out.splitlines()
    assert first.startswith("acme/support@1  ")
    assert live == "aliases: production"
    assert [note.partition(": ")[0] for note in notes] == ["note"] * 3
    assert "bookkeeping of MLX: num_layers" in out
    assert "does not have: w" in out
    assert "adapter's name left out in 4 tensors' names" in out
    shown = document(run("show", "acme/support@1", "--json"))
    assert [note["code"] for note in shown["notes"]] == ["foreign_fields", "unmatched_targets", "names_normalised"]
    assert run("show", "acme/support@1")[1].count("  note    ") == 3
    assert run("pull", "acme/support@1", tmp_path / "pulled")[0] == 0
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "pulled" / name).read_bytes() == (path / name).read_bytes()


@pytest.mark.parametrize(
    ("config", "fill", "flags", "noted"),
    [
        ({"of_tomorrow": 1}, 0.5, ["--ignore-field", "of_tomorrow"], "ignored_field"),
        ({"target_modules": ["q_proj", "up_proj"]}, 0.5, ["--allow-partial"], "partial"),
        ({}, 0.0, ["--allow-no-effect"], "no_effect"),
    ],
)
def test_what_is_refused_says_which_flag_allows_it(run, tmp_path, config, fill, flags, noted):
    weights = artifacts.pack(artifacts.tensors(fill))
    path = artifacts.folder(tmp_path / "adapter", artifacts.config(**config), weights)
    code, out, err = run("push", path, "acme/support")
    assert (code, out) == (1, "")
    assert " ".join(flags) in err
    pushed = document(run("push", path, "acme/support", *flags, "--json"))
    assert [note["code"] for note in pushed["notes"]] == [noted]
    assert [note["code"] for note in document(run("show", "acme/support@1", "--json"))["notes"]] == [noted]


def foreign_folder(tmp_path: Path) -> Path:
    named = {name.replace(".weight", ".default.weight"): array for name, array in artifacts.tensors().items()}
    config = artifacts.config(target_modules=["q_proj", "w"], num_layers=2)
    return artifacts.folder(tmp_path / "foreign", config, artifacts.pack(named))


def test_what_is_neither_folder_nor_hub_id_is_told_both(run) -> None:
    code, _, err = run("push", "nosuch", "acme/support")
    assert code == 1
    assert "nosuch is no folder here, and no id of the Hub either, which reads OWNER/NAME" in err
