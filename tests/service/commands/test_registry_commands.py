"""The command line against a real registry: tables, one JSON document, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from adapters_registry.client import RegistryClient
from adapters_registry.folder import WEIGHTS
from service import cli
from tests.adapters_registry import artifacts
from tests.service.commands.conftest import document


def test_from_push_to_delete(run, folder):
    first = document(run("push", folder(0.1), "acme/support", "--json"))
    assert (first["record"]["number"], first["created"], first["ignored"]) == (1, True, [])
    assert not document(run("push", folder(0.1), "acme/support", "--json"))["created"]
    document(run("push", folder(0.2), "acme/support", "--json"))
    third = document(run("push", folder(0.3), "acme/support", "--promote", "--json"))
    assert third["aliases"][0]["version"] == 3
    assert document(run("promote", "acme/support@2", "--json"))["generation"] == 3
    assert document(run("promote", "acme/support@" + first["record"]["digest"], "--alias", "canary", "--json")) == {
        "alias": "canary",
        "version": 1,
        "digest": first["record"]["digest"],
        "generation": 1,
        "protected": False,
        "requires": None,
    }
    assert document(run("rollback", "acme/support", "--json"))["version"] == 3
    shown = document(run("show", "acme/support", "--json"))
    assert [a["alias"] for a in shown["aliases"]] == ["canary", "production"]
    for selector in ("canary", "1", first["record"]["digest"]):
        assert document(run("show", f"acme/support@{selector}", "--json"))["record"] == first["record"]
    assert document(run("delete", "acme/support@2", "--yes", "--json")) == {"deleted": "acme/support@2"}
    listed = document(run("list", "--json"))
    assert [[v["number"] for v in a["versions"]] for a in listed["adapters"]] == [[1, 3]]
    document(run("delete", "acme/support", "--yes", "--json"))
    assert document(run("list", "--json")) == {"adapters": []}


def test_tables_for_people(run, folder, tmp_path):
    assert run("list") == (0, "no adapters yet; create one: quickchange push DIR [TENANT/]NAME\n", "")
    path = folder(0.1)
    (path / "README.md").write_text("about")
    code, out, _ = run("push", path, "support")
    assert code == 0
    assert out.startswith("default/support@1  ")
    assert "aliases: production" in out
    assert "not uploaded: README.md" in out
    run("push", folder(0.2), "support")
    code, out, _ = run("list")
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["ADAPTER", "LIVE", "ALIASES", "VERSIONS"],
        ["default/support", "1", "-", "2"],
    ]
    code, out, _ = run("show", "support")
    assert [line.split()[:4] for line in out.splitlines()[2:]] == [
        ["1", "production", "lora", "2"],
        ["2", "-", "lora", "2"],
    ]
    code, out, _ = run("show", "support@production")
    assert "default/support@1" in out
    assert WEIGHTS in out
    assert run("promote", "support@2")[1].startswith("default/support@production -> version 2 ")
    assert run("rollback", "support")[1].startswith("default/support@production -> version 1 ")
    assert run("delete", "support@2", "--yes")[1] == "deleted default/support@2\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nobody"], "No adapter default/nobody"),
        (["show", "support@9"], "the adapter has production, 1"),
        (["promote", "support@9"], "no version 9"),
        (["promote", "support@1", "--alias", "12"], "not digits alone"),
        (["rollback", "support"], "no earlier version"),
        (["rollback", "support", "--alias", "canary"], "no alias 'canary'"),
        (["delete", "support@1", "--yes"], "'production'"),
        (["delete", "support@7", "--yes"], "does not exist"),
        (["push", "nowhere", "support"], "no folder here"),
        (["push", "DORA", "support"], "use_dora"),
        (["push", "GOOD", "support", "--base", "other"], "'other'"),
        (["list", "--registry", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_refusals_name_cause_and_remedy(run, folder, tmp_path, arguments, told):
    places = {"DORA": artifacts.folder(tmp_path / "dora", artifacts.config(use_dora=True)), "GOOD": folder(0.1)}
    assert run("push", folder(0.1), "support")[0] == 0
    code, out, err = run(*[places.get(argument, argument) for argument in arguments])
    assert (code, out) == (1, "")
    assert told in err
    assert "\nquickchange: " in "\n" + err  # before it, a slow machine's progress


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["push"],
        ["push", "dir", "Not/A/Name"],
        ["push", "dir", "support@3"],
        ["push", "dir", "support", "--nonsense"],
        ["show", "support@"],
        ["show", "a/b/c"],
        ["promote", "support"],
        ["promote", "support@canary"],
        ["rollback", "support@3"],
        ["delete", "support"],
        ["list", "--registry", "localhost:8100"],
    ],
)
def test_wrong_usage(run, arguments):
    code, out, _ = run(*arguments)
    assert code == 2
    assert out == ""


def test_a_malformed_setting_is_named(run, monkeypatch):
    monkeypatch.setenv("QUICKCHANGE_PORT", "many")
    code, _, err = run("list")
    assert code == 2
    assert "QUICKCHANGE_PORT" in err


def test_help_lists_every_verb(run):
    code, out, _ = run("--help")
    assert code == 0
    for verb, entry in cli.TABLE.items():
        assert verb in out
        assert entry.help in out


def test_verbs_import_nothing_heavy():
    heavy = "{'torch', 'ray', 'transformers', 'peft', 'sqlalchemy', 'fastapi', 'uvicorn', 'numpy'}"
    code = (
        "import sys; from service import cli; cli.main(['--help'])\n"
        "for verb in cli.TABLE.values():\n    verb.raw or verb.load()\n"
        "import service.settings\n"
        f"found = {heavy} & set(sys.modules)\nassert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_is_the_same_program(url):
    done = subprocess.run(
        [sys.executable, "-m", "service", "list", "--json", "--registry", url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, {"adapters": []})
    with RegistryClient(url) as client:
        assert list(client.adapters()) == []
