"""What services of a base say that they can run, and what it lets in, in which form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from adapters_registry.announcing import (
    MOST,
    Announcement,
    last_announced,
    missing,
    read_format_1_only,
    runs_of,
    with_announcement,
)
from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS, UNANNOUNCED
from adapters_registry.choosing import ALIVE
from adapters_registry.client import RegistryClient
from adapters_registry.errors import NotRunnable
from adapters_registry.records import Published
from adapters_registry.registry import Origin, Registry
from adapters_registry.tables import bases
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import store

ACME = ("acme", "support")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=30)
SILENT = NOW - ALIVE - timedelta(seconds=1)
EVERYTHING = tuple(UNANNOUNCED)


def said(runs: Sequence[str] | None, at: datetime = NOW) -> Announcement:
    return Announcement(runs=None if runs is None else tuple(sorted(runs)), at=at)


def test_one_service_must_be_able_to_run_all_of_it():
    services = (said(["lora", "a"]), said(["lora", "b"]))
    assert missing(frozenset({"lora", "a"}), services, NOW) == frozenset()
    assert missing(frozenset({"lora", "b"}), services, NOW) == frozenset()
    assert missing(frozenset({"lora", "a", "b"}), services, NOW) in ({"a"}, {"b"})
    assert runs_of(services, NOW) == ("a", "b", "lora")


def test_a_service_that_says_nothing_runs_what_there_was_before():
    for services in ((), (said(None),)):
        assert missing(UNANNOUNCED, services, NOW) == frozenset()
        assert missing(frozenset({LORA, "lora.magnitude"}), services, NOW) == {"lora.magnitude"}
        assert read_format_1_only(services, NOW)
        assert runs_of(services, NOW) is None
    assert read_format_1_only((said(["lora"]), said(None)), NOW)
    assert not read_format_1_only((said(["lora"]), said(None, SILENT)), NOW)


def test_a_silent_service_counts_only_where_all_are_silent():
    assert missing(frozenset({"b"}), (said(["a"]), said(["b"], SILENT)), NOW) == {"b"}
    assert missing(frozenset({"b"}), (said(["a"], SILENT), said(["b"], SILENT)), NOW) == frozenset()


def test_what_is_heard_again_is_kept_once_and_what_is_silent_is_forgotten():
    before = (said(["a"], EARLIER), said(["b"], SILENT))
    assert with_announcement(before, ["c", "a", "c"], NOW) == (said(["a", "c"]), said(["a"], EARLIER))
    assert with_announcement(before, ["a"], NOW) == (said(["a"]),)
    assert (last_announced(before, ["a"]), last_announced(before, None)) == (EARLIER, None)
    for number in range(2 * MOST):
        before = with_announcement(before, [str(number)], NOW)
    assert len(before) == MOST


def announce(registry: Registry, *runs: str) -> None:
    registry.put_base(artifacts.base().model_copy(update={"runs": runs}))


def age(engine: sa.Engine) -> None:
    """Nobody has announced anything for a long time."""
    with engine.begin() as connection:
        text = connection.execute(sa.select(bases.c.announcements)).scalar_one()
        old = text.replace(str(datetime.now(UTC).year), "2001", text.count('"at"'))
        connection.execute(bases.update().values(announced_at=None, announcements=old))


def prepared(registry: Registry, folder: Path, bias: bool = False) -> list[Any]:
    """The uploaded files of a LoRA on both q_proj, which replaces one bias if it is to."""
    arrays = artifacts.tensors()
    if bias:
        arrays[artifacts.key(artifacts.Q0, "base_layer.bias")] = np.ones(artifacts.Q_OUTPUTS, np.float32)
    settings = artifacts.config(bias="lora_only" if bias else "none")
    artifacts.folder(folder, settings, artifacts.pack(arrays))
    for file in artifacts.files(folder):
        store(registry, "acme", (folder / file.path).read_bytes())
    return artifacts.files(folder)


def format_of(registry: Registry, published: Published) -> int:
    return registry.version(published.record.digest).manifest.format


def test_what_no_service_can_run_is_refused_with_what_to_do(registry, engine, tmp_path):
    age(engine)
    announce(registry, LORA, LORA_B_BIAS)
    files = prepared(registry, tmp_path / "a", bias=True)
    with pytest.raises(NotRunnable) as caught:
        registry.publish(*ACME, files, Origin())
    assert caught.value.param == LORA_BIAS
    assert caught.value.message == (
        "No service of tiny can run replaced biases (lora.bias): train with bias='none', or start a service of tiny "
        "that can, with another backend or of a newer release."
    )
    assert registry.page().adapters == ()
    announce(registry, *EVERYTHING)
    published = registry.publish(*ACME, files, Origin())
    age(engine)
    announce(registry, LORA)
    assert not registry.publish(*ACME, files, Origin()).created, "what is there already is not refused"
    assert registry.base(published.record.base).runs == (LORA,)


def test_it_is_said_over_http(client: RegistryClient, url: str):
    base = artifacts.base()
    newer = ("lora", "of_tomorrow")
    client.put_base(base.model_copy(update={"runs": newer}))
    assert client.base(base.digest).runs == newer
    told = base.model_dump() | {"runs": [1]}
    answer = httpx.put(f"{url}/v1/bases/{base.digest}", json=told)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "runs.0")


def test_an_announcement_of_a_service_under_another_name_counts_and_none_fills_the_audit(registry, tmp_path):
    announce(registry, LORA)
    files = prepared(registry, tmp_path / "a", bias=True)
    seq = registry.snapshot().seq
    other = artifacts.base("another-name").model_copy(update={"runs": EVERYTHING})
    for _ in range(3):
        registry.put_base(other)
        announce(registry, LORA)
    assert registry.snapshot().seq == seq
    assert registry.base(other.digest).runs == tuple(sorted(EVERYTHING))
    assert registry.publish(*ACME, files, Origin()).created


def test_a_version_is_written_so_that_every_service_of_its_base_can_read_it(registry, engine, tmp_path):
    files = prepared(registry, tmp_path / "a")
    assert format_of(registry, registry.publish(*ACME, files, Origin())) == 1
    announce(registry, *EVERYTHING)
    assert format_of(registry, registry.publish("acme", "beside", files, Origin())) == 1
    age(engine)
    announce(registry, *EVERYTHING)
    assert format_of(registry, registry.publish("acme", "later", files, Origin())) == 2


@pytest.mark.parametrize("began_in", [1, 2])
def test_the_same_files_are_the_same_version_whatever_release_made_it(registry, engine, tmp_path, began_in):
    def come_and_go(format: int) -> None:
        age(engine)
        if format == 1:
            registry.put_base(artifacts.base())
        else:
            announce(registry, *EVERYTHING)

    files = prepared(registry, tmp_path / "a")
    come_and_go(began_in)
    first = registry.publish(*ACME, files, Origin())
    assert (first.created, format_of(registry, first)) == (True, began_in)
    come_and_go(3 - began_in)
    again = registry.publish(*ACME, files, Origin())
    assert (again.created, again.record) == (False, first.record)
    registry.delete_alias(*ACME, "production", 1)
    registry.delete_version(*ACME, 1)
    revived = registry.publish(*ACME, prepared(registry, tmp_path / "b"), Origin())
    assert (revived.created, revived.record.number, revived.record.digest) == (True, 2, first.record.digest)
