"""``quickchange share``, ``tenants`` and ``gc``: what tenants have, lend and may keep."""

from __future__ import annotations

import pytest

from tests.service.commands.conftest import document


@pytest.fixture
def globex(run, monkeypatch):
    """Runs a command as the tenant globex; the operator runs the others."""
    operator = run("keys", "create", "operator", "--all-tenants", "--scope", "admin")[1].strip()
    monkeypatch.setenv("QUICKCHANGE_API_KEY", operator)
    key = run("keys", "create", "app", "--tenant", "globex", "--scope", "adapter:read")[1].strip()

    def run_as(*arguments):
        monkeypatch.setenv("QUICKCHANGE_API_KEY", key)
        try:
            return run(*arguments)
        finally:
            monkeypatch.setenv("QUICKCHANGE_API_KEY", operator)

    return run_as


@pytest.mark.parametrize("grantee", ["globex", "*"])
def test_what_is_shared_can_be_pulled_until_it_is_not(run, globex, folder, tmp_path, grantee):
    assert run("push", folder(0.1), "acme/support")[0] == 0
    code, _, err = globex("pull", "acme/support", tmp_path / "no")
    assert (code, "No adapter acme/support" in err) == (1, True)
    assert run("share", "acme/support", grantee)[1] == f"acme/support is shared with {grantee}\n"
    assert globex("pull", "acme/support", tmp_path / "yes")[0] == 0
    assert [a["name"] for a in document(globex("list", "--json"))["adapters"]] == ["support"]
    assert document(run("unshare", "acme/support", grantee, "--json"))["shared_with"] == []
    assert globex("show", "acme/support")[0] == 1


def test_a_foreign_adapter_is_not_to_be_shared(run, globex, folder):
    assert run("push", folder(0.1), "acme/support")[0] == 0
    code, out, err = globex("share", "acme/support", "globex")
    assert (code, out) == (1, "")
    assert "No adapter acme/support" in err


def test_bounds_are_set_one_by_one(run, folder):
    assert "no tenants yet" in run("tenants", "list")[1]
    first = document(run("tenants", "set", "acme", "--max-bytes", "5000", "--keep-versions", "2", "--json"))
    assert (first["max_bytes"], first["keep_versions"], first["keep_days"]) == (5000, 2, None)
    second = document(run("tenants", "set", "acme", "--keep-days", "30", "--max-bytes", "default", "--json"))
    assert (second["max_bytes"], second["keep_versions"], second["keep_days"]) == (None, 2, 30)
    assert run("push", folder(0.1), "acme/support")[0] == 0
    (listed,) = document(run("tenants", "list", "--json"))["tenants"]
    assert (listed["name"], listed["used_versions"], listed["used_bytes"] > 0) == ("acme", 1, True)
    heads, row = run("tenants", "list")[1].splitlines()
    assert heads.split()[:2] == ["TENANT", "USES"]
    assert row.startswith("acme")
    assert "2 newest and 30 days" in row
    assert "all" in run("tenants", "set", "acme", "--keep-days", "default", "--keep-versions", "default")[1]


def test_a_push_beyond_a_bound_is_refused(run, folder):
    assert run("tenants", "set", "acme", "--max-versions", "1")[0] == 0
    assert run("push", folder(0.1), "acme/support")[0] == 0
    code, out, err = run("push", folder(0.2), "acme/support")
    assert (code, out) == (1, "")
    assert "would hold 2 versions, over 1 (max_versions)" in err


@pytest.mark.parametrize("wrong", ["many", "-1", "1.5"])
def test_a_bound_is_a_number_or_default(run, wrong):
    assert run("tenants", "set", "acme", f"--max-bytes={wrong}")[0] == 2


def test_gc_says_what_would_go_and_then_lets_it_go(run, folder):
    for fill in (0.1, 0.2, 0.3):
        assert run("push", folder(fill), "acme/support", "--promote")[0] == 0
    assert run("gc", "--dry-run")[1] == "0 files of 0 B would be deleted\n"
    assert run("tenants", "set", "acme", "--keep-versions", "1")[0] == 0
    told = run("gc", "--dry-run", "--grace-s", "0")[1]
    assert "acme/support@1 would be retired\n" in told
    assert [v["number"] for v in document(run("show", "acme/support", "--json"))["versions"]] == [1, 2, 3]
    found = document(run("gc", "--grace-s", "0", "--json"))
    assert (found["dry_run"], found["retired"], found["blobs"]) == (False, ["acme/support@1"], 1)
    # Version 2 is what production would roll back to.
    assert [v["number"] for v in document(run("show", "acme/support", "--json"))["versions"]] == [2, 3]
    assert run("gc", "--grace-s", "0")[1] == "0 files of 0 B deleted\n"
