"""Every route of the data plane without a key, with each kind of bad key, with each scope missing, and for others."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from adapters_registry.access import Scope, new_key
from adapters_registry.mark import KeyMark
from adapters_registry.recognition import REFUSED
from service.api.auth import Gated
from service.errors import InsufficientScope, InvalidKey, NotReady
from service.feedback.store import FeedbackStore
from service.report import FleetReport
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import FeedbackOptions, KeyOptions
from tests.service.api.world import (
    ADAPTERS,
    CHAT,
    COMPLETIONS,
    CREATED,
    OTHER_BASE,
    QuietSource,
    World,
    adapter,
    chat,
    completion,
    key,
    says,
    version,
    world,
)
from tests.service.metrics.test_metrics import replica

LATER = datetime.now(UTC) + timedelta(days=365)
ACME = key("acme", expires_at=LATER)
GLOBEX = key("globex")
OPERATOR = key(None, Scope.ADMIN)
ENDED = key("acme", expires_at=CREATED)
REVOKED = key("acme", revoked_at=CREATED)
KEYS = (ACME, GLOBEX, OPERATOR, ENDED, REVOKED)

NEEDS = {
    ("POST", CHAT): Scope.INFER,
    ("POST", COMPLETIONS): Scope.INFER,
    ("GET", "/v1/models"): Scope.INFER,
    ("GET", "/v1/models/{id:path}"): Scope.INFER,
    ("POST", "/v1/feedback"): Scope.FEEDBACK_WRITE,
    ("GET", "/v1/feedback"): Scope.FEEDBACK_EXPORT,
    ("GET", "/v1/adapters/residency"): Scope.SCRAPE,
    ("GET", "/metrics"): Scope.SCRAPE,
    ("GET", "/"): None,
    ("GET", "/health"): None,
    ("GET", "/ready"): None,
}
"""Each route's scope; None is for everybody."""
GUARDED = [(method, path, scope) for (method, path), scope in NEEDS.items() if scope is not None]


def front(path: Path, **more: Any) -> World:
    return world(path, says("hello"), keys=KEYS, **more)


def routes(world: World) -> list[Gated]:
    assert isinstance(world.app, Starlette)
    found = [route for route in world.app.routes if isinstance(route, Gated)]
    assert len(found) == len(world.app.routes)
    return found


async def ask(world: World, method: str, path: str, headers: dict[str, str], body: object = None) -> httpx.Response:
    async with world.client() as client:
        url = path.replace("{id:path}", "acme/support")
        return await client.request(method, url, headers=headers, json=body if method == "POST" else None)


def alike(response: httpx.Response) -> tuple[int, object, list[tuple[str, str]]]:
    """All of a response that is not the request's own id."""
    own = ("x-request-id", "x-quickchange-request-id", "date")
    return response.status_code, response.json(), [h for h in response.headers.multi_items() if h[0] not in own]


# -- every route ----------------------------------------------------------------------------------------------


def test_the_table_is_the_application(tmp_path: Path) -> None:
    found = {
        (method, route.path): route.needs
        for route in routes(front(tmp_path))
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found == NEEDS


BAD_KEYS = {
    "no key": {},
    "empty": {"authorization": ""},
    "malformed": {"authorization": "Bearer none"},
    "another scheme": {"authorization": f"Basic {ACME.text}"},
    "wrong secret": {"authorization": f"Bearer qc_{ACME.text.id}_{GLOBEX.text.secret}"},
    "unknown id": {"authorization": f"Bearer {new_key()}"},
    "expired": ENDED.header,
    "revoked": REVOKED.header,
}


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED, ids=lambda value: str(value))
async def test_no_route_without_a_good_key(tmp_path: Path, method: str, path: str, scope: Scope) -> None:
    answers = [alike(await ask(front(tmp_path), method, path, headers)) for headers in BAD_KEYS.values()]
    error = {"message": REFUSED, "type": "authentication_error", "param": None, "code": InvalidKey.code}
    status, body, headers = answers[0]
    assert (status, body) == (401, {"error": error})
    assert ("x-should-retry", "false") in headers
    assert ("www-authenticate", "Bearer") in headers
    for name, answer in zip(BAD_KEYS, answers, strict=True):
        assert answer == answers[0], name


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", sorted({path for _, path, _ in GUARDED}))
async def test_no_method_goes_round_the_door(tmp_path: Path, method: str, path: str) -> None:
    assert (await ask(front(tmp_path), method, path, {})).status_code in (401, 405)


async def test_two_keys_are_no_key(tmp_path: Path) -> None:
    async with front(tmp_path).client() as client:
        both = [("authorization", ACME.header["authorization"])] * 2
        assert (await client.get("/v1/models", headers=both)).status_code == 401


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED, ids=lambda value: str(value))
async def test_every_scope_but_the_right_one_is_refused(tmp_path: Path, method: str, path: str, scope: Scope) -> None:
    wrong = [one for one in Scope if one not in (scope, Scope.ADMIN)]
    for scopes in [*[(one,) for one in wrong], tuple(wrong)]:
        poor = key("acme", *scopes)
        answer = await ask(world(tmp_path, says("x"), keys=(poor,)), method, path, poor.header)
        assert answer.status_code == 403, scopes
        error = answer.json()["error"]
        assert (error["code"], error["param"], error["type"]) == (InsufficientScope.code, scope, "permission_error")
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED, ids=lambda value: str(value))
async def test_the_right_scope_opens_it_and_so_does_admin(
    tmp_path: Path, method: str, path: str, scope: Scope
) -> None:
    body = {CHAT: chat(), COMPLETIONS: completion()}.get(path, {})
    for scopes in ((scope,), (Scope.ADMIN,)):
        rich = key(None, *scopes)
        answer = await ask(world(tmp_path, says("x"), keys=(rich,)), method, path, rich.header, body)
        # Feedback is switched off here, which its handler says: 404 of its own.
        assert answer.status_code == (404 if "feedback" in path else 200), answer.text


# -- before and without keys ----------------------------------------------------------------------------------


async def test_without_keys_everybody_on_this_machine_may_do_everything(tmp_path: Path) -> None:
    open_to_all = world(tmp_path, says("x"))
    for headers in ({}, ACME.header, {"authorization": "Bearer none"}):
        assert (await open_to_all.post(CHAT, chat(), headers=headers)).status_code == 200
        assert (await open_to_all.get("/metrics", headers=headers)).status_code == 200


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED, ids=lambda value: str(value))
async def test_without_keys_nobody_from_other_machines_may_do_anything(
    tmp_path: Path, method: str, path: str, scope: Scope
) -> None:
    closed = world(tmp_path, says("x"), host="0.0.0.0")
    for headers in ({}, ACME.header):
        assert (await ask(closed, method, path, headers)).status_code == 401


async def test_before_the_registry_was_heard_of_nobody_is_let_in_and_it_is_not_ready(tmp_path: Path) -> None:
    unheard = world(tmp_path, says("x"), known=False)
    for method, path, _ in GUARDED:
        answer = await ask(unheard, method, path, ACME.header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, NotReady.code), path
        assert answer.headers["retry-after"] == "1"
    assert (await unheard.get("/ready")).status_code == 503
    assert (await unheard.get("/health")).status_code == 200


async def test_keys_older_than_they_may_be_let_nobody_in(tmp_path: Path) -> None:
    for age_s, status in ((50, 200), (70, 503)):
        old = front(tmp_path, options=KeyOptions(max_staleness_s=60), age_s=age_s)
        answer = await old.post(CHAT, chat(), headers=ACME.header)
        assert answer.status_code == status, age_s
    assert answer.json()["error"]["code"] == "keys_stale"
    assert answer.headers["retry-after"] == "30"
    forever = front(tmp_path, options=KeyOptions(max_staleness_s=None), age_s=10**8)
    assert (await forever.post(CHAT, chat(), headers=ACME.header)).status_code == 200


# -- another tenant's key -------------------------------------------------------------------------------------


async def test_another_tenants_adapters_are_not_there(tmp_path: Path) -> None:
    both = front(tmp_path)
    for headers, seen in ((ACME.header, ["acme/support"]), (GLOBEX.header, [])):
        listed = (await both.get("/v1/models", headers=headers)).json()["data"]
        assert [entry["id"] for entry in listed[1:]] == seen
    assert (await both.get("/v1/models/acme/support", headers=GLOBEX.header)).status_code == 404
    assert (await both.post(CHAT, chat(), headers=GLOBEX.header)).status_code == 404
    assert (await both.post(COMPLETIONS, completion(), headers=GLOBEX.header)).status_code == 404
    assert (await both.post(CHAT, chat(), headers=ACME.header)).status_code == 200
    assert (await both.post(CHAT, chat(model="support"), headers=ACME.header)).status_code == 200
    assert (await both.post(CHAT, chat(model="support"), headers=GLOBEX.header)).status_code == 404
    assert [request.tenant for request in both.engine.requests] == ["acme", "acme"]


async def test_a_key_for_all_tenants_acts_for_the_one_it_names(tmp_path: Path) -> None:
    both = front(tmp_path)
    for model in ("acme/support", "mine"):
        assert (await both.post(CHAT, chat(model=model), headers=OPERATOR.header)).status_code == 200
    assert [request.tenant for request in both.engine.requests] == ["acme", "default"]


@pytest.mark.parametrize("grantee", ["globex", "*"])
async def test_a_shared_adapter_is_used_in_the_askers_own_name(tmp_path: Path, grantee: str) -> None:
    shared = adapter("acme", "support", version(3), shared_with=(grantee,))
    front = world(tmp_path, says("x"), keys=KEYS, adapters=(shared,))
    answer = await front.post(CHAT, chat(), headers=GLOBEX.header)
    assert (answer.status_code, answer.headers["x-adapter"]) == (200, "acme/support@3")
    listed = (await front.get("/v1/models", headers=GLOBEX.header)).json()["data"]
    assert [entry["id"] for entry in listed[1:]] == ["acme/support"]
    # Blocks of the prefix cache are found by this tenant: what acme asked before is no help to globex.
    assert [request.tenant for request in front.engine.requests] == ["globex"]


async def test_an_adapter_shared_with_somebody_else_is_foreign(tmp_path: Path) -> None:
    shared = adapter("acme", "support", version(3), shared_with=("initech",))
    front = world(tmp_path, says("x"), keys=KEYS, adapters=(shared,))
    assert (await front.post(CHAT, chat(), headers=GLOBEX.header)).status_code == 404


async def test_residency_shows_what_the_caller_may_use(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"), keys=KEYS, adapters=(adapter("acme", "b", shared_with=("globex",)),))
    front.fleet = FleetReport({"r1": replica()})
    shown = {}
    for name, headers in (("acme", ACME.header), ("globex", GLOBEX.header), ("operator", OPERATOR.header)):
        [one] = (await front.get("/v1/adapters/residency", headers=headers)).json()["data"]
        shown[name] = {entry["adapter"].split("@")[0] for entry in one["adapters"]}
    everything = {"acme/a", "acme/b", "acme/c", "acme/d"}
    assert shown == {"acme": everything, "globex": {"acme/b"}, "operator": everything}


async def test_residency_tells_a_tenant_nothing_of_others(tmp_path: Path) -> None:
    """Two hold the same bytes: each is shown its own name, and neither the other's nor what the other uses."""
    resident, *others = replica().adapters
    theirs = replace(resident.ref, digest=version(3).digest)
    report = replace(replica(), adapters=(replace(resident, ref=theirs), *others))
    front = world(tmp_path, says("x"), keys=KEYS, adapters=(adapter("globex", "mine", version(3)),))
    front.fleet = FleetReport({"r1": report})
    answer = await front.get("/v1/adapters/residency", headers=GLOBEX.header)
    assert theirs.tenant not in answer.text
    [one] = answer.json()["data"]
    [shown] = one.pop("adapters")
    assert (shown["adapter"], shown["digest"]) == ("globex/mine@3", theirs.digest)
    assert (shown["leases"], shown["idle_s"]) == (None, None)
    hidden = ("backend", "fallback", "running", "waiting", "kv_blocks_used", "kv_blocks_total")
    assert one == {"replica": "r1"} | dict.fromkeys(hidden)


async def test_how_the_registry_is_known_is_for_operators(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"), keys=KEYS)
    assert "registry" not in (await front.get("/v1/adapters/residency", headers=ACME.header)).json()
    told = (await front.get("/v1/adapters/residency", headers=OPERATOR.header)).json()["registry"]
    assert (told["keys_lost"], told["restored_at"], told["contested_keys"]) == (False, None, [])


async def test_metrics_are_of_all_tenants_and_so_for_no_tenants_key(tmp_path: Path) -> None:
    answer = await front(tmp_path).get("/metrics", headers=ACME.header)
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "scrape")
    assert (await front(tmp_path).get("/metrics", headers=OPERATOR.header)).status_code == 200


async def test_feedback_is_each_tenants_own(tmp_path: Path) -> None:
    options = FeedbackOptions(enabled=True, segment_bytes=1 << 20, gather_s=0.0, wait_s=0.1)
    store = FeedbackStore(tmp_path / "feedback", options)
    try:
        both = front(tmp_path, feedback=RecorderClient(StoreOwner(lambda: store).answer, 1 << 20))
        response_id = (await both.post(CHAT, chat(), headers=ACME.header)).json()["id"]
        told = {"kind": "binary", "target": {"response_id": response_id, "choice": 0}, "value": True}
        foreign = await both.post("/v1/feedback", told, headers=GLOBEX.header)
        unknown = {**told, "target": {"response_id": response_id[:-4] + "0000", "choice": 0}}
        missing = await both.post("/v1/feedback", unknown, headers=GLOBEX.header)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json()["error"]["code"] == missing.json()["error"]["code"] == "response_not_found"
        assert (await both.post("/v1/feedback", told, headers=ACME.header)).status_code == 202
        pages = [len((await both.get("/v1/feedback", headers=one.header)).json()["data"]) for one in (ACME, GLOBEX)]
        assert pages == [1, 0]
    finally:
        await store.close()


# -- unknown and foreign take the same way --------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """What a request got and each line of ours that it ran through."""

    answer: tuple[int, object, list[tuple[str, str]]]
    lines: list[str]


async def walk(request: Callable[[], Awaitable[httpx.Response]], *, leave_out: frozenset[str] = frozenset()) -> Walk:
    """``leave_out``: functions that only put the refusal into the metrics and the log."""
    lines: list[str] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not any(part in code.co_filename for part in ("/service/", "/adapters_registry/")):
            return None
        if "/tests/" in code.co_filename or code.co_name in leave_out:
            return None
        if event == "line":
            lines.append(f"{Path(code.co_filename).name}:{frame.f_lineno}")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        response = await request()
    finally:
        sys.settrace(before)
    return Walk(alike(response), lines)


FOREIGN = (
    adapter("acme", "plain", version(1)),
    adapter("acme", "drive", version(1, OTHER_BASE)),
    adapter("acme", "draft", version(1), production=0),
)
"""Of a tenant that the caller does not act for: one that could be served, one of another base, one with no alias."""


@pytest.fixture
def strangers(tmp_path: Path) -> World:
    return world(tmp_path, says("x"), keys=KEYS, adapters=(*ADAPTERS, *FOREIGN))


@pytest.mark.parametrize("selector", ["", "@1", "@production", f"@{version(1).digest}"])
@pytest.mark.parametrize("route", [CHAT, COMPLETIONS, "/v1/models"])
async def test_unknown_and_foreign_adapters(strangers: World, route: str, selector: str) -> None:
    async def ask_for(name: str) -> Walk:
        model = f"{name}{selector}"
        if route == "/v1/models":
            found = await walk(lambda: strangers.get(f"{route}/{model}", headers=GLOBEX.header))
        else:
            body = chat(model=model) if route == CHAT else completion(model=model)
            found = await walk(lambda: strangers.post(route, body, headers=GLOBEX.header))
        status, answer, headers = found.answer
        return Walk((status, str(answer).replace(name, "NAME"), headers), found.lines)

    await ask_for("acme/never")  # what is done once for each route is done
    unknown = await ask_for("acme/never")
    assert unknown.answer[0] == 404
    assert "does not exist or you do not have access" in str(unknown.answer[1])
    assert sum(line.startswith("catalog.py") for line in unknown.lines) > 5
    for name in ("acme/plain", "acme/drive", "acme/draft", "none/plain"):
        foreign = await ask_for(name)
        assert foreign.answer == unknown.answer, name
        assert foreign.lines == unknown.lines, name


async def test_every_bad_key_takes_the_same_way(strangers: World) -> None:
    async def ask_with(headers: dict[str, str]) -> Walk:
        return await walk(
            lambda: strangers.post(CHAT, chat(), headers=headers), leave_out=frozenset({"_why", "is_over"})
        )

    await ask_with({})
    unknown = await ask_with(BAD_KEYS["unknown id"])
    assert sum(line.startswith("keyring.py") for line in unknown.lines) > 5
    for name, headers in BAD_KEYS.items():
        if name not in ("no key", "empty", "another scheme"):
            other = await ask_with(headers)
            assert other.answer == unknown.answer, name
            assert other.lines == unknown.lines, name


async def test_the_gateway_asks_nobody_to_know_a_key(tmp_path: Path) -> None:
    class Silent(QuietSource):
        async def snapshot(self) -> Any:
            raise AssertionError

        async def changes(self, since: int, wait_s: float, head: str | None) -> Any:
            raise AssertionError

    assert (await front(tmp_path, source=Silent()).post(CHAT, chat(), headers=ACME.header)).status_code == 200


async def test_where_the_keys_were_lost_everything_closed_says_what_to_do(tmp_path: Path) -> None:
    """As after a start with the mark, and a registry that has no key any more."""
    mark = KeyMark(tmp_path / "mark")
    mark.set()
    front = world(tmp_path, says("x"), mark=mark)
    for path in ("/ready", "/v1/models", "/metrics", "/v1/feedback"):
        for headers in ({}, ACME.header):
            answer = await front.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "keys_lost"), path
            assert "create-admin-key" in answer.json()["error"]["message"]
            assert answer.headers["retry-after"] == "30"
    assert (await front.post(CHAT, chat())).status_code == 503
    assert (await front.get("/health")).status_code == 200
