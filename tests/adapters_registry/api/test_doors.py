"""Every route of the application, walked: who is let in, who is not, and that the two sorts of 404 are one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from adapters_registry.access import Principal, Scope, new_key
from adapters_registry.api.auth import Open, Requirement, check_requirements, owners
from adapters_registry.keys import Keys
from tests.adapters_registry.api.world import TENANT_SCOPES, Names, World, bearer, content, door, every
from tests.adapters_registry.artifacts import sha256

OPEN_ROUTES = {"/", "/health", "/openapi.json"}


async def ask(http, method, route, names: Names, headers, files=()) -> httpx.Response:
    body = content(method, route, names, list(files))
    return await http.request(method, names.path(route), **body | {"headers": body.get("headers", {}) | headers})


OWN = ("date", "content-length", "x-request-id", "x-quickchange-request-id")
"""Headers that differ from answer to answer."""


def told(answer: httpx.Response, names: Names) -> tuple[object, ...]:
    """All that a caller learns, but the names it gave itself."""
    headers = {name: value for name, value in answer.headers.items() if name not in OWN}
    return answer.status_code, names.stripped(answer.text), headers


def code_of(method: str, answer: httpx.Response) -> str | None:
    """None of a HEAD, which has no body."""
    return None if method == "HEAD" else answer.json()["error"]["code"]


def test_a_route_that_declares_nothing_stops_the_start(app: FastAPI):
    @app.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(TypeError, match="forgotten"):
        check_requirements(app.routes)


async def test_a_route_added_late_stops_the_start(app: FastAPI):
    @app.get("/late")
    async def late() -> None: ...

    with pytest.raises(TypeError, match="late"):
        async with app.router.lifespan_context(app):
            pass


def test_the_door_comes_first(app: FastAPI):
    """So that nothing is read of a stranger's request."""
    for _, route in every(app):
        assert isinstance(next(owners(route)), Requirement | Open), route.path


def test_what_is_open(app: FastAPI):
    assert {route.path for _, route in every(app) if door(route) is None} == OPEN_ROUTES


async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(app, http, registry, world: World):
    """No key, no key of ours, an unknown one, a wrong secret, an expired, a revoked one, two at once."""
    keys, now = world.keys, datetime.now(UTC)
    expired = Keys(registry.metadata, clock=lambda: now - timedelta(days=2)).create(
        None, "expired", [*Scope], expires_at=now - timedelta(days=1)
    )
    revoked = keys.create(None, "revoked", [*Scope])
    good = world.operator.key
    keys.revoke(revoked.record.id, by=keys.authenticate(f"Bearer {good}"))
    wrong = good[:-43] + new_key().secret
    given: list[list[tuple[str, str]]] = [[]]
    given += [[("authorization", text)] for text in ("Bearer", "Bearer x", f"Basic {good}", good, f"Bearer {good}x")]
    given += [[("authorization", f"Bearer {text}")] for text in (new_key(), wrong, expired.key, revoked.key)]
    given += [[("authorization", f"Bearer {good}")] * 2]
    asked = 0
    for method, route in every(app):
        if route.path in OPEN_ROUTES:
            continue
        answers = [await http.request(method, world.there.path(route), headers=headers) for headers in given]
        assert len({told(answer, world.there)[:2] for answer in answers}) == 1, route.path
        assert {answer.status_code for answer in answers} == {401}, route.path
        assert code_of(method, answers[0]) in ("invalid_key", None)
        assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)
        asked += len(answers)
    assert asked >= 36 * len(given)


async def test_every_scope_that_is_not_enough(app, http, world: World):
    """A key with one scope alone, for every route and every scope that the route does not take."""
    single = {scope: world.keys.create(None, scope, [scope]) for scope in Scope}
    refused = 0
    for method, route in every(app):
        at = door(route)
        for scope, key in single.items() if at is not None else ():
            answer = await ask(http, method, route, world.nowhere, bearer(key))
            if any(Principal("", None, frozenset({scope})).may(wanted) for wanted in at.scopes):
                assert answer.status_code not in (401, 403), (method, route.path, scope, answer.text)
                continue
            assert answer.status_code == 403, (method, route.path, scope, answer.text)
            assert code_of(method, answer) in ("insufficient_scope", None)
            refused += 1
    assert refused >= 250


async def test_what_is_for_operators_and_servers_is_not_for_a_tenant(app, http, world: World):
    key = world.keys.create("acme", "all", TENANT_SCOPES)
    found = []
    for method, route in every(app):
        at = door(route)
        if at is not None and at.everywhere:
            answer = await ask(http, method, route, world.there, bearer(key))
            assert answer.json()["error"]["code"] == "insufficient_scope", route.path
            found.append(route.path)
    assert len(found) == 7


async def test_foreign_and_unknown_are_one(app, http, world: World):
    """For every route: what is another tenant's is answered as what does not exist, in status, headers and body."""
    key = world.keys.create("globex", "all", TENANT_SCOPES)
    for method, route in every(app):
        if route.path in ("/v1/keys", "/v1/adapters") and method == "GET":
            continue  # lists, below
        foreign = told(await ask(http, method, route, world.there, bearer(key), world.files), world.there)
        unknown = told(await ask(http, method, route, world.nowhere, bearer(key), world.files), world.nowhere)
        if (method, route.path) == ("POST", "/v1/keys"):
            continue  # makes another key each time
        assert foreign == unknown, (method, route.path)
        named = {"{tenant}", "{id}"} & set(route.path.split("/")) or "versions/{sha256}" in route.path
        if named and not door(route).everywhere:
            assert foreign[0] == 404, (method, route.path, foreign)


async def test_lists_leave_out_what_is_foreign(http, world: World):
    key = bearer(world.keys.create("globex", "all", TENANT_SCOPES))
    assert (await http.get("/v1/adapters", headers=key)).json()["adapters"] == []
    assert (await http.get("/v1/adapters?tenant=acme", headers=key)).json()["adapters"] == []
    assert {k["tenant"] for k in (await http.get("/v1/keys", headers=key)).json()["keys"]} == {"globex"}
    assert [t["name"] for t in (await http.get("/v1/tenants", headers=key)).json()["tenants"]] == ["globex"]
    for path in ("/v1/keys?tenant=", "/v1/uploads/" + sha256(b"") + "?tenant="):
        method = "GET" if "keys" in path else "DELETE"
        foreign = await http.request(method, path + "acme", headers=key)
        unknown = await http.request(method, path + "nope", headers=key)
        assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "tenant_not_found")
        assert foreign.text == unknown.text.replace("nope", "acme")


async def test_a_commit_of_foreign_bytes_is_one_of_missing_bytes(http, world: World):
    key = bearer(world.keys.create("globex", "all", TENANT_SCOPES))
    path = "/v1/adapters/globex/stolen/versions"
    foreign = await http.post(path, json={"files": world.files}, headers=key)
    other = [file | {"digest": sha256(file["path"].encode())} for file in world.files]
    unknown = await http.post(path, json={"files": other}, headers=key)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (422, "blob_missing")
    assert foreign.text.replace(world.files[0]["digest"], other[0]["digest"]) == unknown.text


async def test_a_tenants_admin_keeps_to_its_tenant(http, world: World):
    """It sees, makes, rotates and revokes keys of its own tenant, and cannot rise above it."""
    admin = bearer(world.keys.create("globex", "admin", [Scope.ADMIN]))
    made = await http.post("/v1/keys", json={"name": "a", "scopes": ["infer"]}, headers=admin)
    assert made.json()["record"]["tenant"] == "globex"
    foreign = await http.post("/v1/keys", json={"name": "a", "scopes": ["infer"], "tenant": "acme"}, headers=admin)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "tenant_not_found")
    higher = await http.post("/v1/keys", json={"name": "a", "scopes": ["serve"]}, headers=admin)
    assert (higher.status_code, higher.json()["error"]["param"]) == (400, "scopes")
    bounds = await http.put("/v1/tenants/globex", json={"max_bytes": 1 << 40}, headers=admin)
    assert (bounds.status_code, bounds.json()["error"]["code"]) == (403, "insufficient_scope")
    operator = world.operator.record.id
    for method, path in (("GET", ""), ("POST", "/rotate"), ("DELETE", "")):
        answer = await http.request(method, f"/v1/keys/{operator}{path}", headers=admin, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")


async def test_what_is_shared_is_seen_and_not_changed(http, world: World):
    operator, key = bearer(world.operator), bearer(world.keys.create("globex", "all", TENANT_SCOPES))
    shared = await http.put("/v1/adapters/acme/support/shares/globex", headers=operator)
    assert shared.json()["shared_with"] == ["globex"]
    digest, config = world.published.record.digest, world.files[0]["digest"]
    for path in (
        "/v1/adapters/acme/support",
        "/v1/adapters/acme/support/aliases/production",
        f"/v1/versions/{digest}",
        f"/v1/versions/{digest}/lineage",
        f"/v1/blobs/{config}",
    ):
        assert (await http.get(path, headers=key)).status_code == 200, path
    assert [a["name"] for a in (await http.get("/v1/adapters", headers=key)).json()["adapters"]] == ["support"]
    for method, path in (("DELETE", ""), ("PUT", "/shares/*"), ("DELETE", "/versions/1")):
        answer = await http.request(method, f"/v1/adapters/acme/support{path}", headers=key)
        assert answer.status_code == 404, (method, path)
    await http.delete("/v1/adapters/acme/support/shares/globex", headers=operator)
    assert (await http.get(f"/v1/blobs/{config}", headers=key)).status_code == 404


async def test_the_audit_names_the_key(http, world: World):
    key = world.keys.create("acme", "writer", [Scope.ADAPTER_WRITE, Scope.ALIAS_WRITE])
    await http.delete("/v1/adapters/acme/support/aliases/production", headers=bearer(key))
    await http.delete("/v1/adapters/acme/support", headers=bearer(key))
    entries = (await http.get("/v1/audit", headers=bearer(world.operator))).json()["entries"]
    assert [entry["action"] for entry in entries if entry["actor"] == key.record.id] == [
        "alias.delete",
        "adapter.delete",
    ]
    report = (await http.get("/v1/audit/verify", headers=bearer(world.operator))).json()
    assert (report["entries"], report["head"]) == (len(entries), entries[-1]["digest"])


async def test_a_protected_alias_moves_with_its_scope_only(http, world: World):
    writer = bearer(world.keys.create("acme", "writer", [Scope.ADAPTER_WRITE]))
    mover = bearer(world.keys.create("acme", "mover", [Scope.ALIAS_WRITE]))
    alias = "/v1/adapters/acme/support/aliases/production"
    assert (await http.put(f"{alias}/protection", json={"protected": True}, headers=mover)).json()["protected"]
    refused = await http.delete(alias, headers=writer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "alias_protected")
    assert (await http.delete(alias, headers=mover)).status_code == 204
