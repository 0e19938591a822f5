"""``quickchange protect``, ``evaluate`` and ``audit``: who may make a version live, and who did."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.service.commands.conftest import document


@pytest.fixture
def trainer(run, monkeypatch, folder):
    """Runs a command with a key that may push; two versions of acme/support, the first one live."""
    operator = run("keys", "create", "operator", "--all-tenants", "--scope", "admin")[1].strip()
    monkeypatch.setenv("QUICKCHANGE_API_KEY", operator)
    scopes = ["--scope", "adapter:read", "--scope", "adapter:write"]
    key = run("keys", "create", "trainer", "--tenant", "acme", *scopes)[1].strip()
    for fill in (0.1, 0.2):
        assert run("push", folder(fill), "acme/support")[0] == 0

    def run_as(*arguments):
        monkeypatch.setenv("QUICKCHANGE_API_KEY", key)
        try:
            return run(*arguments)
        finally:
            monkeypatch.setenv("QUICKCHANGE_API_KEY", operator)

    return run_as


def test_a_protected_alias_moves_for_whom_it_may(run, trainer):
    assert trainer("promote", "acme/support@2")[0] == 0
    told = run("protect", "acme/support")[1]
    assert told == "acme/support@production is protected: only keys with alias:write can move it\n"
    code, out, err = trainer("promote", "acme/support@1")
    assert (code, out) == (1, "")
    assert "protected" in err
    assert trainer("unprotect", "acme/support")[0] == 1
    assert run("promote", "acme/support@1")[0] == 0
    assert run("unprotect", "acme/support@production")[1] == "acme/support@production is not protected\n"
    assert trainer("promote", "acme/support@2")[0] == 0


def test_an_alias_may_require_an_evaluation(run, trainer):
    told = run("protect", "acme/support", "--requires", "smoke")[1]
    assert told.endswith("only keys with alias:write can move it, to versions that passed 'smoke'\n")
    code, _, err = run("promote", "acme/support@2")
    assert (code, "smoke" in err) == (1, True)
    failed = trainer(
        "evaluate", "acme/support@2", "smoke", "--failed", "--metric", "exact=0.5", "--metric", "f1=1e-3"
    )
    assert failed[1] == "acme/support@2 failed smoke  exact=0.5  f1=0.001\n"
    assert run("promote", "acme/support@2")[0] == 1
    digest = document(run("show", "acme/support@2", "--json"))["record"]["digest"]
    passed = document(trainer("evaluate", f"acme/support@{digest}", "smoke", "--passed", "--json"))
    assert (passed["passed"], passed["metrics"]) == (True, {})
    assert run("promote", "acme/support@2")[0] == 0
    assert "passed  smoke" in run("show", "acme/support@2")[1]


def test_refusals(run, trainer):
    evaluate = ["evaluate", "acme/support@1", "smoke"]
    for arguments, code, told in (
        (["protect", "acme/nobody"], 1, "No adapter acme/nobody"),
        (["protect", "acme/support@canary"], 1, "canary"),
        (["evaluate", "acme/support", "smoke", "--passed"], 2, "names no version"),
        (["evaluate", "acme/support@9", "smoke", "--passed"], 1, "the adapter has production, 1, 2"),
        (evaluate, 2, "--passed"),
        ([*evaluate, "--passed", "--metric", "good"], 2, "NAME=NUMBER"),
        ([*evaluate, "--passed", "--metric", "exact=nan"], 2, "NAME=NUMBER"),
        ([*evaluate, "--passed", "--metric", "=1"], 2, "NAME=NUMBER"),
    ):
        found, out, err = run(*arguments)
        assert (found, out) == (code, ""), arguments
        assert told in err


def test_the_audit_page_by_page_and_whole(run, trainer):
    entries = document(run("audit", "--json"))["entries"]
    actions = [entry["action"] for entry in entries]
    assert actions[:3] == ["base.put", "key.create", "key.create"]
    assert actions.count("version.publish") == 2
    first = document(run("audit", "--limit", "2", "--json"))
    assert first["entries"] == entries[:2]
    rest = document(run("audit", "--after", str(first["next"]), "--json"))
    assert rest == {"entries": entries[2:], "next": None}
    lines = run("audit", "--limit", "3")[1].splitlines()
    assert lines[0].split() == ["SEQ", "AT", "ACTOR", "ACTION", "SUBJECT", "ALIAS", "DETAIL"]
    assert lines[-1] == f"there are more entries: --after {entries[2]['seq']}"
    assert (
        run("audit", "--verify")[1]
        == f"{len(entries)} entries are unchanged; the last digest is {entries[-1]['digest']}\n"
    )
    assert document(run("audit", "--verify", "--json")) == {"entries": len(entries), "head": entries[-1]["digest"]}


def test_an_audit_that_was_changed_is_told(run, trainer, tmp_path):
    with closing(sqlite3.connect(tmp_path / "data" / "registry.db")) as rows, rows:
        rows.execute("UPDATE audit SET actor = 'nobody' WHERE action = 'version.publish'")
    code, out, err = run("audit", "--verify")
    assert (code, out) == (1, "")
    assert "is not what was written" in err
