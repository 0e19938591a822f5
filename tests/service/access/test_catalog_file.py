"""The catalog's file: a change costs what changed, and whatever a crash leaves of it was true once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.access import catalog_file
from service.access.catalog_file import CatalogFile, Known, Later
from tests.service.api.world import CREATED, adapter, key, version

GRANTS = [key().grant for _ in range(3)]
names = st.sampled_from("abcd")
moves_of = st.tuples(st.lists(names, max_size=2), st.lists(names, max_size=2), st.none() | st.integers(0, 3))


def known(*adapters: str) -> Known:
    return Known(seq=1, adapters=tuple(adapter("acme", name) for name in adapters), keys=tuple(GRANTS))


def gone(name: str) -> object:
    return adapter("acme", name).model_copy(update={"versions": (), "aliases": ()})


def later(seq: int, *put: str, gone_ones: tuple[str, ...] = (), keys: int | None = None) -> Later:
    records = [adapter("acme", name, version(seq)) for name in put] + [gone(name) for name in gone_ones]
    return Later(
        seq=seq,
        head=f"h{seq}",
        adapters=tuple(records),  # type: ignore[arg-type]
        keys=None if keys is None else tuple(GRANTS[:keys]),
        ended=None if keys is None else {GRANTS[-1].id: CREATED},
    )


def names_in(found: Known) -> dict[str, int]:
    return {record.name: record.versions[0].number for record in found.adapters}


@settings(deadline=None, max_examples=50)
@given(st.lists(moves_of, max_size=8))
def test_what_is_appended_is_read(tmp_path_factory: pytest.TempPathFactory, moves: list) -> None:
    path = tmp_path_factory.mktemp("c") / "catalog.json"
    file = CatalogFile(path)
    file.write(known("a"))
    wanted, keys = {"a": 1}, 3
    for seq, (put, dropped, count) in enumerate(moves, start=2):
        file.append([later(seq, *put, gone_ones=tuple(dropped), keys=count)])
        wanted = {name: at for name, at in (wanted | dict.fromkeys(put, seq)).items() if name not in dropped}
        keys = keys if count is None else count
    found = CatalogFile(path).read()
    assert names_in(found) == wanted
    assert found.seq == len(moves) + 1
    assert found.head == (f"h{found.seq}" if moves else None)
    assert len(found.keys) == keys


def test_a_change_does_not_write_the_whole(tmp_path: Path) -> None:
    file = CatalogFile(tmp_path / "catalog.json")
    file.write(known(*(f"a{i}" for i in range(1000))))
    before = file.path.stat()
    file.append([later(2, "b")])
    after = file.path.stat()
    assert after.st_ino == before.st_ino
    assert after.st_size - before.st_size < 1000
    assert file.takes_changes


def test_every_cut_of_the_file_is_an_earlier_state(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    file = CatalogFile(path)
    file.write(known("a"))
    whole = path.stat().st_size
    file.append([later(2, "b", keys=1)])
    file.append([later(3, gone_ones=("a",))])
    data = path.read_bytes()
    states = [(1, {"a": 1}, 3), (2, {"a": 1, "b": 2}, 1), (3, {"b": 2}, 1)]
    for end in range(whole, len(data) + 1):
        path.write_bytes(data[:end])
        cut = CatalogFile(path)
        found = cut.read()
        assert (found.seq, names_in(found), len(found.keys)) in states
        if end not in (whole, len(data)) and found.seq < 3:
            lines = data[:end].split(b"\n")
            assert cut.takes_changes == (lines[-1] in data.split(b"\n"))


def test_long_changes_make_the_whole_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_file, "LEAST_BYTES", 2000)
    file = CatalogFile(tmp_path / "catalog.json")
    assert not file.takes_changes
    file.write(known("a"))
    for seq in range(2, 100):
        file.append([later(seq, "b")])
        if not file.takes_changes:
            break
    assert 2 < seq < 99


def test_another_writer_is_noticed(tmp_path: Path) -> None:
    one, other = CatalogFile(tmp_path / "catalog.json"), CatalogFile(tmp_path / "catalog.json")
    one.write(known("a"))
    other.write(known("a", "b"))
    with pytest.raises(OSError, match="another process"):
        one.append([later(2, "c")])
    assert not one.takes_changes
    assert names_in(other.read()) == {"a": 1, "b": 1}
    other.path.unlink()
    with pytest.raises(FileNotFoundError):
        other.append([later(2, "c")])
    assert not other.takes_changes
