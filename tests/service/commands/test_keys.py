"""``quickchange keys`` and the key that every verb takes, against a real registry."""

from __future__ import annotations

import json
import re

import pytest

from adapters_registry.access import Scope, parse_key
from service.access.marks import key_mark
from service.commands.obstacles import only_one
from service.settings import Settings
from tests.service.commands.conftest import document

KEY = re.compile(r"qc_[a-z2-7]{12}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def operator(run, monkeypatch):
    """The first key, which every later command shows."""
    code, out, _ = run("keys", "create", "operator", "--all-tenants", "--scope", "admin")
    assert code == 0
    monkeypatch.setenv("QUICKCHANGE_API_KEY", out.strip())
    return out.strip()


def made(answer):
    """The new key of ``keys create`` or ``keys rotate``, which says so on stderr."""
    code, out, err = answer
    assert code == 0, err
    assert KEY.fullmatch(out.strip())
    assert "shown only once" in err
    assert out.strip() not in err
    return out.strip()


def plain(text: str) -> str:
    """Without the box that usage errors and help are drawn in."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


def test_a_key_goes_to_stdout_alone_and_all_about_it_to_stderr(run):
    code, out, err = run("keys", "create", "operator", "--all-tenants", "--scope", "admin")
    key = parse_key(out.removesuffix("\n"))
    assert code == 0
    assert err == f"key {key.id} (operator) was created. Keep it safe: it is shown only once.\n"


def test_with_a_key_everything_needs_one(run, operator, monkeypatch, tmp_path):
    assert run("list")[0] == 0
    monkeypatch.delenv("QUICKCHANGE_API_KEY")
    for verb in (["list"], ["keys", "list"], ["tenants", "list"], ["audit"], ["gc", "--dry-run"], ["show", "a"]):
        code, out, err = run(*verb)
        assert (code, out) == (1, "")
        assert err.endswith("(set QUICKCHANGE_API_KEY, or give --key-file)\n")
    (tmp_path / "key").write_text(f"{operator}\n")
    assert run("list", "--key-file", tmp_path / "key")[0] == 0
    monkeypatch.setenv("QUICKCHANGE_API_KEY", str(operator)[:-1] + "-")
    assert run("list")[0] == 1
    assert run("list", "--key-file", tmp_path / "key")[0] == 0


def test_what_is_no_key_is_told_before_anything_is_sent(run, monkeypatch, tmp_path):
    (tmp_path / "key").write_text("sk-other")
    (tmp_path / "empty").write_text("")
    for wrong in ("key", "empty"):
        code, out, err = run("list", "--key-file", tmp_path / wrong)
        assert (code, out) == (2, "")
        assert "holds no API key" in plain(err)
        assert "sk-other" not in err
    assert run("list", "--key-file", tmp_path / "nowhere")[0] == 1
    monkeypatch.setenv("QUICKCHANGE_API_KEY", "sk-other")
    code, _, err = run("list")
    assert code == 2
    assert "QUICKCHANGE_API_KEY holds no API key" in plain(err)
    monkeypatch.setenv("QUICKCHANGE_API_KEY", "")
    assert run("list")[0] == 0


def test_from_making_to_revoking(run, operator):
    limits = ["--requests-per-min", "60", "--tokens-per-min", "1000", "--concurrent", "2", "--resident-bytes", "99"]
    scopes = ["--scope", "infer", "--scope", "feedback:write"]
    app = parse_key(made(run("keys", "create", "app", "--tenant", "acme", *scopes, *limits)))
    code, out, err = run(
        "keys", "create", "later", "--tenant", "acme", "--scope", "infer", "--expires", "2999-01-31", "--json"
    )
    later = json.loads(out)
    assert (code, later["record"]["expires_at"]) == (0, "2999-01-31T00:00:00Z")
    assert KEY.fullmatch(later["key"])
    assert "shown only once" in err

    (record,) = [key for key in document(run("keys", "list", "--json"))["keys"] if key["id"] == app.id]
    assert (record["name"], record["tenant"], record["scopes"]) == ("app", "acme", ["feedback:write", "infer"])
    assert record["quotas"] == {
        "requests_per_min": 60,
        "tokens_per_min": 1000,
        "concurrent": 2,
        "resident_bytes": 99,
    }
    assert "secret" not in json.dumps(record)

    new = parse_key(made(run("keys", "rotate", app.id, "--overlap-s", "600")))
    lines = run("keys", "list", "--tenant", "acme")[1].splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == {"ID", app.id, later["record"]["id"], new.id}
    assert "valid until" in rows[app.id]
    assert rows[new.id].rstrip().endswith("valid")
    assert "requests_per_min=60 tokens_per_min=1000 concurrent=2 resident_bytes=99" in rows[new.id]
    assert run("keys", "revoke", app.id)[1] == f"revoked {app.id}\n"
    assert document(run("keys", "revoke", new.id, "--json")) == {"revoked": new.id}
    assert run("keys", "list")[1].count("  revoked 20") == 2


def test_the_audit_names_the_key_that_did_it(run, operator, folder):
    assert run("push", folder(0.1), "acme/support")[0] == 0
    entries = document(run("audit", "--json"))["entries"]
    by = {entry["action"]: entry["actor"] for entry in entries}
    assert by["version.publish"] == parse_key(operator).id
    assert by["key.create"] == "anonymous"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "app", "--tenant", "acme", "--scope", "infer"], 1, "The first key must have the scope admin"),
        (["create", "app", "--scope", "infer"], 2, "--all-tenants"),
        (["create", "app", "--scope", "infer", "--tenant", "acme", "--all-tenants"], 2, "--all-tenants"),
        (["create", "app", "--tenant", "acme"], 2, "--scope"),
        (["create", "app", "--tenant", "acme", "--scope", "everything"], 2, "everything"),
        (["create", "app", "--tenant", "acme", "--scope", "infer", "--requests-per-min", "0"], 2, "requests-per-min"),
        (["create", "op", "--all-tenants", "--scope", "admin", "--expires", "2001-01-01"], 1, "over already"),
        (["rotate", "abcdefghijkl"], 1, "No key abcdefghijkl"),
        (["revoke", "abcdefghijkl"], 1, "No key abcdefghijkl"),
    ],
)
def test_refusals(run, arguments, code, told):
    found, out, err = run("keys", *arguments)
    assert (found, out) == (code, "")
    assert told in err


def test_without_keys_the_list_says_what_that_means(run):
    assert "no keys: every caller on this machine" in run("keys", "list")[1]
    assert document(run("keys", "list", "--json")) == {"keys": []}


def test_help_names_every_scope(run):
    shown = plain(run("keys", "create", "--help")[1])
    assert [scope for scope in Scope if scope not in shown] == []


def test_the_operators_key_goes_on_until_it_is_revoked_with_the_new_one(run, operator, monkeypatch):
    old = parse_key(operator).id
    code, out, err = run("keys", "rotate", old, "--overlap-s", "0")
    assert code == 0
    assert "stays valid until it is revoked with the new one" in plain(err)
    code, _, err = run("keys", "revoke", old)
    assert (code, "revoke it with another such key" in err) == (1, True)
    monkeypatch.setenv("QUICKCHANGE_API_KEY", out.strip())
    assert run("keys", "revoke", old)[1] == f"revoked {old}\n"


def test_a_service_whose_registry_is_gone_is_reopened_on_purpose(run, tmp_path, monkeypatch):
    """The registry's own part of it: ``tests/adapters_registry/test_mark.py``."""
    monkeypatch.delenv("QUICKCHANGE_REGISTRY_URL")
    data, cache = tmp_path / "gone", tmp_path / "cache"
    settings = Settings(data_dir=data, cache_dir=cache)
    key_mark(settings).set()
    (cache / "catalog").mkdir(parents=True)
    (cache / "catalog" / "known.json").write_text("{}")
    with only_one(data):
        code, _, err = run("keys", "reopen", "--data-dir", data, "--cache-dir", cache)
    assert (code, "stop it" in err) == (1, True)
    assert key_mark(settings).is_set
    code, out, _ = run("keys", "reopen", "--data-dir", data, "--cache-dir", cache)
    assert (code, "start the service again" in out) == (0, True)
    assert not key_mark(settings).is_set
    assert list((cache / "catalog").iterdir()) == []


def test_of_a_registry_elsewhere_the_gateways_part_is_forgotten(run, url, tmp_path):
    settings = Settings(registry_url=url, cache_dir=tmp_path)
    key_mark(settings).set()
    code, _, _ = run("keys", "reopen", "--cache-dir", tmp_path)
    assert (code, key_mark(settings).is_set) == (0, False)
