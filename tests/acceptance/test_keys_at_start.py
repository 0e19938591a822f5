"""``quickchange up`` and its registry's keys: what it hands over, what it refuses to start on. No base, no Ray."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from adapters_registry.access import Scope, new_key
from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.errors import InsufficientScope, InvalidKey
from service.access.marks import key_mark
from service.commands import up as command
from service.commands.obstacles import listens_beyond, need_good_key
from service.process.waiting import CannotStart
from service.settings import Settings
from tests.acceptance.up import eventually, free_port

pytestmark = pytest.mark.acceptance


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Settings]:
    """The registry as ``up`` starts it; the settings that the service goes on with."""
    settings = command._with_key(Settings(data_dir=tmp_path / "data", registry_port=free_port()))
    with contextlib.ExitStack() as stack:
        command._start_registry(settings, stack)
        eventually(lambda: httpx.get(f"{settings.registry}/health").is_success)
        yield settings


def operator_key(settings: Settings) -> str:
    with RegistryClient(settings.registry) as nobody:
        return nobody.create_key("operator", [Scope.ADMIN]).key


async def test_the_embedded_registry_takes_the_key_of_the_service(embedded: Settings) -> None:
    key = embedded.registry_bearer
    assert key is not None
    shown = " ".join(" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True))
    assert "adapters_registry" in shown
    assert key not in shown
    operator = operator_key(embedded)
    async with AsyncRegistryClient(embedded.registry, key=key) as service:
        assert len((await service.snapshot()).keys) == 1
    async with AsyncRegistryClient(embedded.registry) as stranger:
        with pytest.raises(InvalidKey):
            await stranger.snapshot()
    async with AsyncRegistryClient(embedded.registry, key=operator) as admin:
        with pytest.raises(InsufficientScope):
            await admin.snapshot()
    with RegistryClient(embedded.registry, key=key) as service_key, pytest.raises(InsufficientScope):
        service_key.create_key("another", [Scope.ADMIN])


def test_each_start_has_a_key_of_its_own_unless_one_is_given() -> None:
    one, two = (command._with_key(Settings()).registry_bearer for _ in range(2))
    assert one != two
    given = Settings(registry_key=SecretStr(str(new_key())))
    assert command._with_key(given) is given
    assert str(given.registry_bearer) not in repr(given)


def test_other_machines_are_listened_to_once_there_are_keys(embedded: Settings) -> None:
    public = embedded.model_copy(update={"host": "0.0.0.0"})
    assert listens_beyond(public.host)
    assert not listens_beyond(embedded.host)
    need_good_key(embedded, print, beyond=False)
    with pytest.raises(CannotStart, match=r"0\.0\.0\.0 .* no API keys yet.*keys create"):
        need_good_key(public, print, beyond=True)
    operator_key(embedded)
    need_good_key(public, print, beyond=True)


def test_a_key_that_the_registry_refuses_is_told(embedded: Settings) -> None:
    admin = operator_key(embedded)
    for key in (None, str(new_key()), admin):
        wrong = embedded.model_copy(update={"registry_key": key and SecretStr(key)})
        with pytest.raises(CannotStart, match=r"refuses.*QUICKCHANGE_REGISTRY_KEY.*scope serve"):
            need_good_key(wrong, print, beyond=False)


def test_a_registry_that_has_lost_its_keys_is_reported(
    embedded: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = embedded.model_copy(update={"cache_dir": tmp_path, "host": "0.0.0.0"})
    key_mark(lost).set()
    need_good_key(lost, print, beyond=True)
    assert "the registry has none any more" in capsys.readouterr().out


def test_a_registry_that_is_down_holds_up_nobody() -> None:
    need_good_key(Settings(registry_port=free_port(), host="0.0.0.0"), print, beyond=True)


def test_up_says_so_before_it_loads_anything(tmp_path: Path) -> None:
    options = ["--host", "0.0.0.0", "--port", str(free_port()), "--registry-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-m", "service", "up", *options, "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "no API keys yet" in done.stderr
    assert "preparing base" not in done.stderr
