"""Several services on one registry: whose base a push is checked against, and what their announcements change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters_registry.check import check
from adapters_registry.errors import BaseMismatch, BaseNotFound, BaseNotNamed, InvalidValue
from adapters_registry.registry import Origin, Registry
from adapters_registry.tables import bases
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import LIMITS, store

ACME = ("acme", "support")
OTHER = artifacts.base("org/Other", "1")
"""Of the same shapes as ``artifacts.base()``, which is announced already as ``tiny``."""


def prepared(registry: Registry, folder: Path, **config: Any) -> list[Any]:
    """The uploaded files of an adapter with this config."""
    artifacts.folder(folder, artifacts.config(**config))
    for file in artifacts.files(folder):
        store(registry, "acme", (folder / file.path).read_bytes())
    return artifacts.files(folder)


def silence(engine: sa.Engine, name: str) -> None:
    """Nobody has announced the base for a long time."""
    with engine.begin() as connection:
        connection.execute(bases.update().where(bases.c.name == name).values(announced_at=None))


def test_it_is_the_one_that_the_config_names_whoever_announced_last(registry, tmp_path):
    registry.put_base(OTHER)
    tiny = prepared(registry, tmp_path / "tiny", base_model_name_or_path="somebody/Tiny")
    other = prepared(registry, tmp_path / "other", base_model_name_or_path="org/other")
    for again in (artifacts.base(), OTHER):
        registry.put_base(again)
        assert registry.publish(*ACME, tiny, Origin()).record.base == artifacts.base().digest
        assert registry.publish(*ACME, other, Origin()).record.base == OTHER.digest
        assert registry.publish(*ACME, other, Origin()).notes == ()


def test_where_none_is_named_they_are_listed_and_the_push_may_say(registry, tmp_path):
    registry.put_base(OTHER)
    files = prepared(registry, tmp_path / "a")
    with pytest.raises(BaseNotNamed, match=r"org/Other.*tiny"):
        registry.publish(*ACME, files, Origin())
    assert registry.publish(*ACME, files, Origin("tiny")).record.base == artifacts.base().digest
    assert registry.publish(*ACME, files, Origin(OTHER.digest)).record.base == OTHER.digest
    with pytest.raises(BaseNotFound):
        registry.publish(*ACME, files, Origin("unknown"))


def test_the_push_overrules_the_config_and_that_is_noted(registry, tmp_path):
    registry.put_base(OTHER)
    files = prepared(registry, tmp_path / "a", base_model_name_or_path="org/Other")
    published = registry.publish(*ACME, files, Origin("tiny"))
    assert published.record.base == artifacts.base().digest
    assert [note.code for note in published.notes] == ["base_overruled"]
    assert registry.version(published.record.digest).notes == published.notes


def test_a_name_that_nobody_announced_is_advice_and_noted(registry, tmp_path):
    files = prepared(registry, tmp_path / "a", base_model_name_or_path="/home/me/checkpoint")
    published = registry.publish(*ACME, files, Origin())
    assert [note.code for note in published.notes] == ["base_unknown"]


def test_equal_shapes_are_not_enough_for_a_base_that_is_served_no_more(registry, engine, tmp_path):
    registry.put_base(OTHER)
    silence(engine, "org/Other")
    files = prepared(registry, tmp_path / "a", base_model_name_or_path="org/Other")
    with pytest.raises(BaseMismatch, match="--base"):
        registry.publish(*ACME, files, Origin())
    assert registry.publish(*ACME, files, Origin("org/Other")).record.base == OTHER.digest
    unnamed = prepared(registry, tmp_path / "b")
    assert registry.publish(*ACME, unnamed, Origin()).record.base == artifacts.base().digest


def test_the_check_in_its_own_process_finds_out_which_base_the_config_names(registry, tmp_path):
    registry.put_base(OTHER)
    files = prepared(registry, tmp_path / "a", base_model_name_or_path="org/other")
    apart = Registry(registry.metadata, registry.blobs, registry.staging, LIMITS, check=check)
    assert apart.publish(*ACME, files, Origin()).record.base == OTHER.digest
    with pytest.raises(BaseNotNamed):
        apart.publish(*ACME, prepared(registry, tmp_path / "b"), Origin())


def test_announcements_of_two_services_in_turns_change_nothing(registry):
    registry.put_base(OTHER)
    before, seq = registry.bases(), registry.snapshot().seq
    assert [(base.name, base.latest, base.served) for base in before] == [
        ("org/Other", False, True),
        ("tiny", False, True),
    ]
    for base in (artifacts.base(), OTHER) * 3:
        registry.put_base(base)
        registry.put_base(base.model_copy(update={"dtype": "bfloat16"}))
        registry.put_base(base.model_copy(update={"name": "another-name"}))
        registry.put_base(without_weights(base))
    assert (registry.bases(), registry.snapshot().seq) == (before, seq)
    assert registry.base(OTHER.digest) == OTHER


def test_what_a_later_release_knows_of_a_base_is_taken(registry):
    registry.put_base(without_weights(OTHER))
    assert registry.base(OTHER.digest) != OTHER
    registry.put_base(OTHER)
    assert registry.base(OTHER.digest) == OTHER


def test_a_base_is_served_again_once_it_is_announced_again(registry, engine):
    registry.put_base(OTHER)
    silence(engine, "tiny")
    assert [(base.name, base.latest, base.served) for base in registry.bases()] == [
        ("org/Other", True, True),
        ("tiny", False, False),
    ]
    registry.put_base(artifacts.base())
    assert all(base.served for base in registry.bases())


def test_a_new_adapter_may_not_have_a_bases_name(registry, tmp_path):
    registry.put_base(OTHER.model_copy(update={"name": "acme/other"}))
    files = prepared(registry, tmp_path / "a", base_model_name_or_path="tiny")
    for name in ("tiny", "other"):
        with pytest.raises(InvalidValue, match="under another name") as caught:
            registry.publish("acme", name, files, Origin())
        assert caught.value.param == "name"
    assert registry.page().adapters == ()
    assert registry.publish("acme", "tiny-2", files, Origin()).created


def test_an_adapter_that_was_there_before_its_bases_name_goes_on_with_a_note(registry, push, tmp_path, caplog):
    push("acme/late")
    registry.put_base(artifacts.base("late", "2"))
    assert "a base has the name of adapters" in caplog.text
    assert registry.audit().entries[-1].detail == '{"adapters_of_that_name":1,"name":"late"}'
    files = prepared(registry, tmp_path / "b", base_model_name_or_path="tiny", lora_alpha=8)
    published = registry.publish("acme", "late", files, Origin())
    assert published.record.number == 2
    assert [note.code for note in published.notes] == ["base_name"]
    assert "acme/late@production" in published.notes[0].message


def without_weights(base: Any) -> Any:
    """As a service of an earlier release announces it."""
    modules = {name: module.model_copy(update={"weight": None}) for name, module in base.modules.items()}
    return base.model_copy(update={"modules": modules})
