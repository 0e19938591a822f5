"""``quickchange pull`` against a real registry: what was pushed, byte for byte, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters_registry.folder import CONFIG, WEIGHTS
from adapters_registry.manifest import File


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def pushed(run, folder) -> list[Path]:
    """Three versions of acme/support, the second one live, each with a file that stays behind."""
    folders = [folder(fill) for fill in (0.1, 0.2, 0.3)]
    for number, path in enumerate(folders, 1):
        (path / "README.md").write_text("stays behind")
        assert run("push", path, "acme/support", *(["--promote"] if number == 2 else []))[0] == 0
    return folders


def test_byte_for_byte(run, pushed, tmp_path):
    digest = json.loads(run("show", "acme/support@1", "--json")[1])["record"]["digest"]
    for selector, number in (("", 2), ("@production", 2), ("@1", 1), ("@3", 3), (f"@{digest}", 1)):
        to = tmp_path / f"deep{selector}" / "down" / "pulled"
        code, out, err = run("pull", f"acme/support{selector}", to)
        assert (code, err) == (0, "")
        assert out.startswith(f"acme/support@{number}  ")
        assert str(to) in out
        wanted = contents(pushed[number - 1])
        del wanted["README.md"]
        assert contents(to) == wanted
        assert [path.name for path in to.parent.iterdir()] == ["pulled"]


def test_one_document(run, pushed, tmp_path):
    code, out, err = run("pull", "acme/support@1", tmp_path / "to", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["directory"] == str(tmp_path / "to")
    assert told["record"]["number"] == 1
    assert [file["path"] for file in told["manifest"]["files"]] == [CONFIG, WEIGHTS]


def test_what_was_pulled_can_be_pushed_and_is_the_same_version(run, pushed, tmp_path):
    assert run("pull", "acme/support@3", tmp_path / "to")[0] == 0
    code, out, _ = run("push", tmp_path / "to", "acme/support", "--json")
    again = json.loads(out)
    assert (code, again["created"], again["record"]["number"]) == (0, False, 3)


def test_a_folder_of_the_caller_is_left_as_it_was(run, pushed, tmp_path):
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    (full / "mine").write_text("mine")
    file.write_text("mine")
    empty.mkdir()
    for wrong in (full, file):
        code, out, err = run("pull", "acme/support", wrong)
        assert (code, out) == (1, "")
        assert f"{wrong} is there already and is not an empty folder" in err
    assert contents(full) == {"mine": b"mine"}
    assert file.read_text() == "mine"
    assert run("pull", "acme/support", empty)[0] == 0
    assert set(contents(empty)) == {CONFIG, WEIGHTS}


def test_refusals(run, pushed, tmp_path):
    to = tmp_path / "to"
    for arguments, code, told in (
        (["acme/nobody", to], 1, "No adapter acme/nobody"),
        (["acme/support@9", to], 1, "the adapter has production, 1"),
        (["acme/support@canary", to], 1, "@canary does not exist"),
        (["acme/support"], 2, ""),
        (["a/b/c", to], 2, ""),
        (["acme/support", to, "--registry", "http://127.0.0.1:1"], 1, "does not answer"),
    ):
        found, out, err = run("pull", *arguments)
        assert (found, out) == (code, ""), arguments
        assert told in err
        assert not to.exists()


def test_without_a_live_version_it_says_what_there_is(run, folder, url, tmp_path):
    from adapters_registry.client import RegistryClient

    assert run("push", folder(0.1), "acme/support")[0] == 0
    with RegistryClient(url) as client:
        client.delete_alias("acme", "support", "production")
    code, _, err = run("pull", "acme/support", tmp_path / "to")
    assert code == 1
    assert "acme/support@production does not exist: the adapter has 1." in err


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/b", ".hidden", ""])
def test_a_manifest_names_no_other_place(path: str) -> None:
    """Why a pull may join a manifest's paths to a folder."""
    with pytest.raises(ValueError, match="path"):
        File(path=path, digest="sha256:" + "0" * 64, size=0)
