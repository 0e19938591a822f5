"""``/v1/feedback`` over HTTP, with the real store behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.errors import ReplicaFailed
from service.feedback.events import Author, ResponseRecord
from service.feedback.responses import response_key
from service.feedback.store import FeedbackStore
from service.feedback.wire import parse_inputs
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import FeedbackOptions, Limits
from service.values import GenerateRequest
from tests.service.api.world import (
    CHAT,
    COMPLETIONS,
    HANG,
    Script,
    Step,
    World,
    chat,
    completion,
    encode,
    events,
    plays,
    says,
    version,
    world,
)

FEEDBACK = "/v1/feedback"
OPTIONS = FeedbackOptions(enabled=True, segment_bytes=1 << 20, gather_s=0.0, wait_s=0.3, batch=1000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FeedbackStore]:
    store = FeedbackStore(tmp_path / "feedback", OPTIONS)
    yield store
    await store.close()


def client_of(store: FeedbackStore) -> RecorderClient:
    return RecorderClient(StoreOwner(lambda: store).answer, 1 << 20)


@pytest.fixture
def on(tmp_path: Path, store: FeedbackStore) -> World:
    return world(tmp_path, says("hello world", "STOP here"), feedback=client_of(store))


def good(response_id: str, choice: int = 0, **more: object) -> dict[str, Any]:
    return {"kind": "binary", "target": {"response_id": response_id, "choice": choice}, "value": True} | more


async def answer(on: World, **more: Any) -> str:
    return str((await on.post(CHAT, chat(**more))).json()["id"])


async def record(store: FeedbackStore, response_id: str) -> ResponseRecord:
    await store.accept(parse_inputs(good(response_id), 1), Author("default", "test"))  # waits until it is there
    key = response_key("default", response_id)
    return store._responses.read([key])[key]


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    told = response.json()["error"]
    return response.status_code, told["code"], told["param"]


async def test_an_event_is_acknowledged_and_read_back(on: World) -> None:
    response_id = await answer(on)
    response = await on.post(FEEDBACK, good(response_id, source="chat"))
    assert response.status_code == 202
    [receipt] = response.json()["data"]
    assert receipt["duplicate"] is False
    page = (await on.get(FEEDBACK)).json()
    [event] = page["data"]
    assert event["id"] == receipt["id"]
    assert (event["kind"], event["value"], event["source"]) == ("binary", True, "chat")
    assert event["digests"] == [version(3).digest]
    assert (await on.get(FEEDBACK, params={"after": page["next"]})).json()["data"] == []


async def test_the_record_is_the_servers_own(on: World, store: FeedbackStore) -> None:
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello", "name": ""}]
    response_id = await answer(on, messages=turns, n=2, temperature=0.5, seed=7, stop=["xyz"])
    kept = await record(store, response_id)
    assert [(turn.role, turn.content) for turn in kept.prompts[0]] == [("system", "be brief"), ("user", "hello")]
    assert [(choice.text, choice.finish) for choice in kept.choices] == [
        ("hello world", "stop"),
        ("STOP here", "stop"),
    ]
    (adapter,) = kept.adapters
    assert (adapter.tenant, adapter.name, adapter.version) == ("acme", "support", 3)
    assert (kept.tenant, kept.sampling.temperature, kept.sampling.seed, kept.stops) == ("default", 0.5, 7, ("xyz",))


async def test_streams_are_recorded_as_they_were_seen(on: World, store: FeedbackStore) -> None:
    response = await on.post(CHAT, chat(stream=True, stop=["wor"]))
    chunks = events(response)
    seen = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    kept = await record(store, chunks[0]["id"])
    assert kept.choices[0].text == seen == "hello "


async def test_completions_keep_each_prompt(on: World, store: FeedbackStore) -> None:
    ids = (await on.post(COMPLETIONS, completion(prompt=["hello", "the quick"], n=2))).json()["id"]
    kept = await record(store, ids)
    assert kept.prompts == ("hello", "the quick")
    assert [kept.prompt(i) for i in range(4)] == ["hello", "hello", "the quick", "the quick"]
    tokens = (await on.post(COMPLETIONS, completion(prompt=[5, 6, 7]))).json()["id"]
    assert (await record(store, tokens)).prompts == ((5, 6, 7),)


async def test_a_batch_is_taken_together_or_not_at_all(on: World) -> None:
    response_id = await answer(on)
    batch = {"events": [good(response_id), good("chatcmpl-none")]}
    assert error(await on.post(FEEDBACK, batch)) == (404, "response_not_found", "events[1].target")
    assert (await on.get(FEEDBACK)).json()["data"] == []
    batch = {"events": [good(response_id), good(response_id, value=False)]}
    assert len((await on.post(FEEDBACK, batch)).json()["data"]) == 2


async def test_sent_again_under_its_key_it_counts_once(on: World) -> None:
    response_id = await answer(on)
    first = (await on.post(FEEDBACK, good(response_id, idempotency_key="k"))).json()["data"][0]
    again = (await on.post(FEEDBACK, good(response_id, idempotency_key="k"))).json()["data"][0]
    assert again == {"id": first["id"], "duplicate": True}
    assert len((await on.get(FEEDBACK)).json()["data"]) == 1
    other = await on.post(FEEDBACK, good(response_id, idempotency_key="k", value=False))
    assert error(other) == (409, "idempotency_conflict", "idempotency_key")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (good("chatcmpl-unknown"), (404, "response_not_found", "target")),
        (good("chatcmpl-unknown", prompt="forged"), (400, "unknown_parameter", "prompt")),
        (good("chatcmpl-unknown", digest="sha256:" + "0" * 64), (400, "unknown_parameter", "digest")),
        (good("../../etc/passwd"), (400, "invalid_value", "target.response_id")),
        (good("chatcmpl-unknown", kind="applause"), (400, "invalid_value", "kind")),
        ({"events": []}, (400, "invalid_value", "events")),
        ({"events": [good("x")] * 1001}, (400, "invalid_value", "events")),
        (b"[]", (400, "invalid_value", None)),
        (b"{", (400, "invalid_value", None)),
        (b'{"kind": "comment", "value": "' + b"x" * 5000 + b'"}', (413, "body_too_large", None)),
    ],
)
async def test_each_wrong_event_has_an_error_of_its_own(
    tmp_path: Path, store: FeedbackStore, body: object, expected: tuple[int, str, str | None]
) -> None:
    limits = Limits(body_bytes=4096) if isinstance(body, bytes) else Limits()
    small = world(tmp_path, says("hi"), limits, feedback=client_of(store))
    assert error(await small.post(FEEDBACK, body)) == expected
    assert (await small.get(FEEDBACK)).json()["data"] == []


async def test_another_tenants_response_looks_unknown(on: World, store: FeedbackStore) -> None:
    await store.keep(
        [(await record(store, await answer(on))).model_copy(update={"tenant": "globex", "id": "theirs"})]
    )
    foreign, unknown = [(await on.post(FEEDBACK, good(name))) for name in ("theirs", "nobodys")]
    assert error(foreign) == error(unknown) == (404, "response_not_found", "target")
    assert foreign.json()["error"]["message"].replace("theirs", "nobodys") == unknown.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"after": "1-2"}, {"page": "2"}]
)
async def test_wrong_pages_are_refused(on: World, query: dict[str, str]) -> None:
    status, _, param = error(await on.get(FEEDBACK, params=query))
    assert (status, param) == (400, next(iter(query)))


async def test_switched_off_it_says_how_to_switch_it_on(tmp_path: Path) -> None:
    off = world(tmp_path, says("hi"))
    for response in (await off.post(FEEDBACK, good("x")), await off.get(FEEDBACK)):
        assert error(response)[:2] == (404, "not_found")
        assert "--feedback.enabled" in response.json()["error"]["message"]


def goes_on_after(words: int, last: Step = HANG) -> Script:
    """Choice 0 says a word and ends; the next says ``words`` tokens, and then comes ``last``."""

    def script(request: GenerateRequest) -> Sequence[Step]:
        if request.n == 1 and not request.request_id.endswith("-0"):
            return [*plays(encode("hello world, how are you"))(request)[:words], last]
        return [*plays(encode("hello"), encode("hello world, how are you"))(request)[:words], last]

    return script


async def hang_up(on: World, path: str, body: dict[str, Any], chunks: int) -> str:
    """Read ``chunks`` of a stream, then close the connection; the response's id."""
    ids: list[str] = []
    async with on.serving() as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("POST", path, json=body | {"stream": True}) as response:
            lines = response.aiter_lines()
            while len(ids) < chunks:
                line = await anext(lines)
                ids += [json.loads(line.removeprefix("data: "))["id"]] if line else []
        await on.engine.ended.wait()
    return ids[0]


def recorded(path: Path, store: FeedbackStore, script: Script, limits: Limits | None = None) -> World:
    return world(path, script, limits, feedback=client_of(store))


async def test_an_answer_that_its_reader_stopped_can_be_judged(tmp_path: Path, store: FeedbackStore) -> None:
    on = recorded(tmp_path, store, goes_on_after(2))
    response_id = await hang_up(on, CHAT, chat(), chunks=3)
    assert (await on.post(FEEDBACK, good(response_id, value=False))).status_code == 202
    [given] = (await record(store, response_id)).choices
    assert (given.text, given.finish) == ("hello world", "cancelled")


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, chat(n=2)), (COMPLETIONS, completion(n=2)), (COMPLETIONS, completion(prompt=["a", "b"]))],
)
async def test_of_a_stopped_answer_each_choice_has_its_own_end(
    tmp_path: Path, store: FeedbackStore, path: str, body: dict[str, Any]
) -> None:
    on = recorded(tmp_path, store, goes_on_after(3))
    kept = await record(store, await hang_up(on, path, body, chunks=6 if path == CHAT else 4))
    assert [choice.finish for choice in kept.choices] == ["stop", "cancelled"]
    assert kept.choices[0].text == "hello"
    assert "hello world, how are you".startswith(kept.choices[1].text)
    assert kept.choices[1].text


@pytest.mark.parametrize("last", [ReplicaFailed("gone"), RuntimeError("defect"), HANG])
async def test_an_answer_that_the_service_broke_off_can_be_judged(
    tmp_path: Path, store: FeedbackStore, last: Step
) -> None:
    on = recorded(tmp_path, store, goes_on_after(2, last), Limits(deadline_s=0.3))
    told = (await on.post(CHAT, chat(stream=True))).text
    assert '"error"' in told
    [given] = (await record(store, json.loads(told.splitlines()[0].removeprefix("data: "))["id"])).choices
    assert (given.text, given.finish) == ("hello world", "failed")


async def test_what_nobody_got_an_id_of_is_not_recorded(tmp_path: Path, store: FeedbackStore) -> None:
    client = client_of(store)
    for body in (chat(stream=True), chat()):
        on = world(tmp_path, lambda request: [HANG], feedback=client)
        async with on.serving() as url, httpx.AsyncClient(base_url=url) as caller:
            task = asyncio.create_task(caller.post(CHAT, json=body))
            while not on.engine.requests:
                await asyncio.sleep(0.002)
            task.cancel()
            await on.engine.ended.wait()
    await client.flush()
    assert (client.kept, client.dropped) == (0, 0)


async def test_what_did_not_end_well_is_not_recorded(tmp_path: Path, store: FeedbackStore) -> None:
    def breaks(request: object) -> list[Exception]:
        return [RuntimeError("defect")]

    client = client_of(store)
    broken = world(tmp_path, breaks, feedback=client)
    assert (await broken.post(CHAT, chat())).status_code == 500
    await client.flush()
    await asyncio.sleep(0)
    assert (client.kept, client.dropped) == (0, 0)
