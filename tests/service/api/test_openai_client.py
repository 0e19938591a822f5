"""The official client, unchanged, against a real server; and clients that hang up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    InternalError,
    Overloaded,
    QuickchangeError,
    ReplicaFailed,
)
from service.settings import Limits
from service.values import GenerateRequest
from tests.service.api import world as w
from tests.service.api.world import (
    BASE_NAME,
    CHAT,
    COMPLETIONS,
    World,
    chat,
    completion,
    encode,
    plays,
    says,
    world,
)


@contextlib.asynccontextmanager
async def client_of(front: World, max_retries: int = 0) -> AsyncIterator[AsyncOpenAI]:
    async with (
        front.serving() as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=max_retries) as client,
    ):
        yield client


async def test_models(tmp_path: Path) -> None:
    async with client_of(world(tmp_path, says("x"))) as client:
        ids = [model.id async for model in client.models.list()]
        assert ids == [BASE_NAME, "acme/support", "default/mine"]
        for one in ids:
            assert (await client.models.retrieve(one)).id == one
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("no/such")


async def test_chat_and_completions(tmp_path: Path) -> None:
    async with client_of(world(tmp_path, says("hello 🦊 world", "the fox"))) as client:
        answer = await client.chat.completions.create(
            model="acme/support", messages=[{"role": "user", "content": "hello"}], n=2, logprobs=True, top_logprobs=1
        )
        assert [choice.message.content for choice in answer.choices] == ["hello 🦊 world", "the fox"]
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.content is not None
        assert answer._request_id == answer.id.removeprefix("chatcmpl-")
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 4
        text = await client.completions.create(model="mine", prompt=["hello", "world"], max_tokens=50, logprobs=1)
        assert [choice.text for choice in text.choices] == ["hello 🦊 world"] * 2
        assert text.choices[0].logprobs is not None


async def test_streams(tmp_path: Path) -> None:
    async with client_of(world(tmp_path, says("hello 🦊 world STOP never", "the fox"))) as client:
        stream = await client.chat.completions.create(
            model="acme/support",
            messages=[{"role": "user", "content": "hello"}],
            n=2,
            stop=["STOP"],
            stream=True,
            stream_options={"include_usage": True},
        )
        said, usage, reasons = ["", ""], None, {}
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                said[choice.index] += choice.delta.content or ""
                reasons[choice.index] = choice.finish_reason
        assert said == ["hello 🦊 world ", "the fox"]
        assert reasons == {0: "stop", 1: "stop"}
        assert usage is not None
        assert usage.completion_tokens == len(encode("hello 🦊 world STOP")) + len(encode("the fox"))
        text = await client.completions.create(model="mine", prompt="hello", max_tokens=50, stream=True)
        assert "".join([c.choices[0].text async for c in text]) == "hello 🦊 world STOP never"


ERRORS: list[tuple[QuickchangeError, type[openai.APIStatusError]]] = [
    (Overloaded("full"), openai.RateLimitError),
    (AdapterIncompatible("shape"), openai.UnprocessableEntityError),
    (AdapterFailed("bytes"), openai.InternalServerError),
    (ReplicaFailed("gone"), openai.InternalServerError),
    (InternalError("bug"), openai.InternalServerError),
]


@pytest.mark.parametrize(("error", "raised"), ERRORS)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_have_the_clients_types(
    tmp_path: Path, error: QuickchangeError, raised: type[openai.APIStatusError], stream: bool
) -> None:
    async with client_of(world(tmp_path, lambda request: [error])) as client:
        with pytest.raises(raised) as caught:
            await client.completions.create(model="mine", prompt="hello", stream=stream)
        assert caught.value.code == error.code


async def test_bad_requests_have_the_clients_types(tmp_path: Path) -> None:
    async with client_of(world(tmp_path, says("never"))) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            await client.completions.create(model="mine", prompt="hello", temperature=3)
        assert (bad.value.code, bad.value.param) == ("invalid_value", "temperature")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.completions.create(model="no/such", prompt="hello")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="mine", prompt="hello", extra_body={"guided_json": {}})
        assert refused.value.code == "unsupported_parameter"


async def test_an_error_inside_a_stream_is_raised_by_the_client(tmp_path: Path) -> None:
    front = world(tmp_path, lambda r: [*plays(encode("hello"))(r)[:1], ReplicaFailed("it went away")])
    async with client_of(front) as client:
        stream = await client.completions.create(model="mine", prompt="hello", stream=True)
        with pytest.raises(openai.APIError, match="it went away"):
            async for _ in stream:
                pass


async def test_only_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_with(error: QuickchangeError) -> World:
        return world(tmp_path, lambda request: [error])

    for error, tries in [(AdapterIncompatible("never"), 1), (ReplicaFailed("now", retry_after_s=0.1), 2)]:
        front = fails_with(error)
        async with client_of(front, max_retries=1) as client:
            with pytest.raises(openai.APIStatusError):
                await client.completions.create(model="mine", prompt="hello")
        assert len(front.engine.requests) == tries


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_client_that_leaves_a_stream_ends_the_generation(tmp_path: Path, steps: int) -> None:
    front = world(tmp_path, lambda r: [*plays(encode("hello"))(r)[:steps], w.HANG])
    async with front.serving() as url, httpx.AsyncClient(base_url=url) as client:
        task = asyncio.create_task(_first_bytes(client))
        await until(lambda: bool(front.engine.requests))
        if steps:
            assert await task
        else:
            task.cancel()
        await until(front.engine.ended.is_set)
    assert front.engine.closed == [front.engine.requests[0].request_id]


async def _first_bytes(client: httpx.AsyncClient) -> bytes:
    async with client.stream("POST", CHAT, json=chat(stream=True)) as response:
        async for part in response.aiter_bytes():
            return part
    return b""


async def test_a_client_that_leaves_a_whole_answer_ends_the_generation(tmp_path: Path) -> None:
    front = world(tmp_path, lambda r: [w.HANG])
    async with front.serving() as url, httpx.AsyncClient(base_url=url) as client:
        task = asyncio.create_task(client.post(COMPLETIONS, json=completion(prompt=["a", "b"])))
        await until(lambda: len(front.engine.requests) == 2)
        task.cancel()
        await until(lambda: len(front.engine.closed) == 2)


async def test_what_comes_while_the_client_is_not_read_is_one_chunk(tmp_path: Path) -> None:
    # All steps are there before the first is sent, so everything is in one write.
    def at_once(request: GenerateRequest) -> list[w.Step]:
        steps = plays(encode("hello world"))(request)
        return [[event for step in steps if isinstance(step, list) for event in step]]

    front = world(tmp_path, at_once)
    response = await front.post(COMPLETIONS, completion(stream=True))
    assert [chunk["choices"][0]["text"] for chunk in w.events(response)] == ["hello world"]


async def test_the_server_lives_on_after_bodies_it_refused(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"), Limits(body_bytes=10_000))
    async with front.serving() as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.post(CHAT, content=b"x" * 120_000)
        assert response.status_code == 413
        assert (await client.post(CHAT, json=chat())).status_code == 200
