"""A gateway's catalog over real registries: one restored from a backup, one whose database is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from adapters_registry.access import Principal, Scope
from adapters_registry.api.app import create_app
from adapters_registry.backup import back_up
from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.errors import KeysLost
from adapters_registry.feed import Feed
from adapters_registry.mark import KeyMark
from adapters_registry.opening import open_registry
from adapters_registry.records import NewKey
from adapters_registry.settings import Limits
from service.access.catalog import Catalog
from service.access.names import parse_model
from service.errors import QuickchangeError
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

pytestmark = pytest.mark.acceptance
OPERATOR = Principal("operator", None, frozenset(Scope))
REVOCATION_S = 10.0
"""What the documentation promises."""


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Its address, as its process serves it."""
    feed = Feed()
    with (
        open_registry(directory, Limits(), feed.committed) as opened,
        serving(create_app(opened, feed, Limits(), mark=KeyMark(directory))) as url,
    ):
        yield url


@contextlib.asynccontextmanager
async def gateway(url: str, root: Path, key: str) -> AsyncIterator[Catalog]:
    """What a gateway with a cache directory knows, once the registry has answered or refused."""
    async with AsyncRegistryClient(url, key=key) as client:
        catalog = Catalog(client, root / "catalog.json", artifacts.base().digest, KeyMark(root / "cache"))
        following = asyncio.create_task(catalog.follow())
        await until(lambda: catalog.report().reachable or catalog.report().keys_lost)
        yield catalog
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


def served(catalog: Catalog, name: str) -> int | str:
    """The version that an operator is served, or why none."""
    model = parse_model(name, "base")
    assert model is not None
    try:
        return catalog.find(model, OPERATOR).ref.version
    except QuickchangeError as error:
        return error.code


def admitted(catalog: Catalog, key: NewKey | None) -> str:
    header = None if key is None else f"Bearer {key.key}"
    try:
        return catalog.keys.admit(header, datetime.now(UTC), stale=False, anonymous=True).id
    except QuickchangeError as error:
        return error.code


class Setup:
    """Two versions of one adapter, the second in production, and keys; backed up before what followed."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.backup = root, root / "data", root / "backup"

    def fill(self) -> None:
        with registry(self.data) as url, RegistryClient(url) as nobody:
            nobody.put_base(artifacts.base())
            self.operator = nobody.create_key("operator", [Scope.ADMIN])
            with RegistryClient(url, key=self.operator.key) as client:
                self.serve = client.create_key("gateway", [Scope.SERVE])
                self.app = client.create_key("app", [Scope.INFER], tenant="acme")
                self.leaked = client.create_key("leaked", [Scope.INFER], tenant="acme")
                for fill in (0.1, 0.2):
                    made = artifacts.folder(self.root / str(fill), weights=artifacts.pack(artifacts.tensors(fill)))
                    client.push(made, "acme", "support", promote=True)
                back_up(self.data, self.backup)

    def restore(self) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(self.backup, self.data)


class Ahead:
    """In front of a registry: adds a field that no release has to every object of its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.grown = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def hold(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if body:  # every answer of these tests that has one is JSON
                body = json.dumps(grown(json.loads(body))).encode()
                self.grown += 1
            headers = [header for header in start["headers"] if header[0] != b"content-length"]
            await send(start | {"headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, hold)


def grown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: grown(one) for name, one in value.items()} | {"of_a_newer_release": {"x": [1]}}
    return [grown(one) for one in value] if isinstance(value, list) else value


async def test_a_registry_one_field_ahead_still_delivers_a_revocation(setup: Setup) -> None:
    """Over HTTP, by the long-poll of a gateway that was there before: within ten seconds."""
    feed = Feed()
    with open_registry(setup.data, Limits(), feed.committed) as opened:
        ahead = Ahead(create_app(opened, feed, Limits(), mark=KeyMark(setup.data)))
        with serving(ahead) as url:
            async with gateway(url, setup.root, setup.serve.key) as catalog:
                assert served(catalog, "acme/support") == 2
                assert admitted(catalog, setup.leaked) == setup.leaked.record.id
                with RegistryClient(url, key=setup.operator.key) as client:
                    client.revoke_key(setup.leaked.record.id)
                    move(client, 1)
                async with asyncio.timeout(REVOCATION_S):
                    while admitted(catalog, setup.leaked) != "invalid_key":
                        await asyncio.sleep(0.01)
                await until(lambda: served(catalog, "acme/support") == 1)
                assert admitted(catalog, setup.app) == setup.app.record.id
        assert ahead.grown > 3


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    made = Setup(tmp_path)
    made.fill()
    return made


def move(client: RegistryClient, version: int) -> None:
    client.promote("acme", "support", version)


@pytest.mark.parametrize("moves", [0, 9])
async def test_a_restored_registry_is_obeyed_however_far_it_has_come(setup: Setup, moves: int) -> None:
    """Also where it has made more changes since than were lost: its number alone says nothing then."""
    with registry(setup.data) as url:
        async with gateway(url, setup.root, setup.serve.key) as catalog:
            with RegistryClient(url, key=setup.operator.key) as client:
                for version in (1, 2, 1):
                    move(client, version)
                client.share("acme", "support", "globex")
                client.revoke_key(setup.leaked.record.id)
            await until(
                lambda: served(catalog, "acme/support") == 1 and admitted(catalog, setup.leaked) == "invalid_key"
            )
    setup.restore()
    with registry(setup.data) as url:
        with RegistryClient(url, key=setup.operator.key) as client:
            for number in range(moves):
                move(client, 1 + number % 2)
        async with gateway(url, setup.root, setup.serve.key) as catalog:
            with RegistryClient(url, key=setup.operator.key) as client:
                (alias,) = client.adapter("acme", "support").aliases
            await until(lambda: catalog.report().restores == 1)
            assert served(catalog, "acme/support") == alias.version
            assert admitted(catalog, setup.app) == setup.app.record.id
            assert admitted(catalog, setup.leaked) == "invalid_key"
            assert catalog.report().contested == (setup.leaked.record.id,)
            with RegistryClient(url, key=setup.operator.key) as client:
                client.revoke_key(setup.leaked.record.id)
            await until(lambda: catalog.report().contested == ())


async def test_a_lost_database_lets_nobody_in_until_an_operator_says_how_to_go_on(setup: Setup) -> None:
    with registry(setup.data) as url:
        async with gateway(url, setup.root, setup.serve.key) as catalog:
            assert admitted(catalog, setup.app) == setup.app.record.id
    (setup.data / "registry.db").unlink()
    with registry(setup.data) as url:
        with RegistryClient(url) as nobody, pytest.raises(KeysLost, match="create-admin-key"):
            nobody.create_key("evil", [Scope.ADMIN])
        async with gateway(url, setup.root, setup.serve.key) as catalog:
            assert catalog.report().keys_lost
            assert (admitted(catalog, setup.app), admitted(catalog, None)) == (setup.app.record.id, "invalid_key")
            assert served(catalog, "acme/support") == 2
        (setup.root / "catalog.json").unlink()
        async with gateway(url, setup.root, setup.serve.key) as catalog:
            assert (admitted(catalog, setup.app), admitted(catalog, None)) == ("keys_lost", "keys_lost")
