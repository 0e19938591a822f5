"""Chat answers over HTTP, whole and streamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import AdapterFailed, AdapterIncompatible, Overloaded, QuickchangeError, ReplicaFailed
from service.settings import Limits
from service.values import FinishReason, GenerateRequest
from tests.service.api import world as w
from tests.service.api.world import (
    BASE,
    BASE_NAME,
    CHAT,
    chat,
    encode,
    events,
    plays,
    says,
    tokenizer,
    version,
    world,
)


def templated(messages: list[dict[str, str]]) -> tuple[int, ...]:
    return tuple(tokenizer().apply_chat_template(messages, add_generation_prompt=True)["input_ids"])


async def test_a_whole_answer(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello world"))
    response = await front.post(CHAT, chat(max_tokens=50, temperature=0, seed=3, user="me"))
    assert response.status_code == 200
    prompt, said = templated([{"role": "user", "content": "hello"}]), encode("hello world")
    digest = version(3).digest
    body = response.json()
    assert body.pop("id") == f"chatcmpl-{response.headers['x-request-id']}"
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "chat.completion",
        "model": "acme/support@3",
        "system_fingerprint": f"fp_{BASE[7:19]}_{digest[7:19]}",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(said),
            "total_tokens": len(prompt) + len(said),
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    assert response.headers["x-adapter"] == "acme/support@3"
    assert response.headers["x-adapter-digest"] == digest
    [request] = front.engine.requests
    assert request.prompt == prompt
    assert request.tenant == "acme"
    assert request.adapters.digest == digest
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.seed) == (50, 0.0, 3)
    assert 0 < request.deadline_s <= 300


async def test_the_base_answers_under_its_own_name(tmp_path: Path) -> None:
    front = world(tmp_path, says("hi"))
    response = await front.post(CHAT, chat(model=BASE_NAME))
    assert response.json()["model"] == response.headers["x-adapter"] == BASE_NAME
    assert response.headers["x-adapter-digest"] == BASE
    assert response.json()["system_fingerprint"] == f"fp_{BASE[7:19]}"
    assert not front.engine.requests[0].adapters
    assert front.engine.requests[0].tenant == "default"


@pytest.mark.parametrize(
    ("model", "served"),
    [
        ("mine", "default/mine@1"),
        ("acme/support@2", "acme/support@2"),
        (f"{BASE_NAME}:acme/support", "acme/support@3"),
    ],
)
async def test_model_strings(tmp_path: Path, model: str, served: str) -> None:
    response = await world(tmp_path, says("hi")).post(CHAT, chat(model=model))
    assert response.json()["model"] == served


async def test_a_stream_is_the_role_the_text_the_reason_and_the_usage(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello world"))
    response = await front.post(CHAT, chat(stream=True, stream_options={"include_usage": True}))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-adapter"] == "acme/support@3"
    *chunks, usage = events(response)
    for chunk in [*chunks, usage]:
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["id"] == f"chatcmpl-{response.headers['x-request-id']}"
        assert chunk["model"] == "acme/support@3"
        assert chunk["system_fingerprint"].startswith("fp_")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "hello world"
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert all(c["usage"] is None for c in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(encode("hello world"))


async def test_without_include_usage_no_chunk_speaks_of_it(tmp_path: Path) -> None:
    response = await world(tmp_path, says("hello")).post(CHAT, chat(stream=True))
    assert all("usage" not in chunk for chunk in events(response))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=3),
    stops=st.lists(st.text(min_size=1, max_size=3), max_size=2),
    size=st.integers(1, 5),
    limit=st.integers(1, 30),
)
async def test_a_joined_stream_is_the_whole_answer(
    tmp_path: Path, texts: list[str], stops: list[str], size: int, limit: int
) -> None:
    front = world(tmp_path, plays(*(encode(text) for text in texts), tokens_a_step=size))
    asked = chat(n=len(texts), stop=stops, max_tokens=limit, logprobs=True, top_logprobs=2)
    whole = (await front.post(CHAT, asked)).json()
    streamed = events(await front.post(CHAT, asked | {"stream": True, "stream_options": {"include_usage": True}}))
    assert streamed[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        mine = [c["choices"][0] for c in streamed[:-1] if c["choices"][0]["index"] == choice["index"]]
        assert "".join(c["delta"].get("content", "") for c in mine) == choice["message"]["content"]
        assert [t for c in mine if c["logprobs"] for t in c["logprobs"]["content"]] == choice["logprobs"]["content"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        assert sum("role" in c["delta"] for c in mine) == 1
        said = tokenizer().decode(encode(texts[choice["index"]])[:limit], skip_special_tokens=True)
        assert said.startswith(choice["message"]["content"])
        assert stops or said == choice["message"]["content"]


async def test_choices_are_kept_apart(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello", "world, how are you", "fox"))
    body = (await front.post(CHAT, chat(n=3))).json()
    assert [c["message"]["content"] for c in body["choices"]] == ["hello", "world, how are you", "fox"]
    assert [c["index"] for c in body["choices"]] == [0, 1, 2]
    assert front.engine.requests[0].n == 3
    assert body["usage"]["prompt_tokens"] == len(front.engine.requests[0].prompt)
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 4


async def test_a_stop_string_ends_the_generation(tmp_path: Path) -> None:
    def endless(request: GenerateRequest) -> list[w.Step]:
        return [*plays(encode("hello STOP"), finish=FinishReason.FAILED)(request)[:-1], w.HANG]

    front = world(tmp_path, endless)
    body = (await front.post(CHAT, chat(stop="STOP"))).json()
    assert body["choices"][0]["message"]["content"] == "hello "
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == len(encode("hello STOP"))
    assert front.engine.closed == [front.engine.requests[0].request_id]


async def test_one_stopped_choice_does_not_end_the_others(tmp_path: Path) -> None:
    front = world(tmp_path, says("a STOP and more of it, hello", "hello world, how are you today?"))
    body = (await front.post(CHAT, chat(n=2, stop=["STOP"]))).json()
    assert [c["message"]["content"] for c in body["choices"]] == ["a ", "hello world, how are you today?"]


async def test_length_is_the_reason_at_max_tokens(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello world, how are you"))
    body = (await front.post(CHAT, chat(max_completion_tokens=2))).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


async def test_without_max_tokens_chat_may_fill_the_context(tmp_path: Path) -> None:
    front = world(tmp_path, says("hi"))
    await front.post(CHAT, chat())
    [request] = front.engine.requests
    assert len(request.prompt) + request.sampling.max_tokens == w.CONTEXT


async def test_logprobs(tmp_path: Path) -> None:
    front = world(tmp_path, plays(encode("hi🦊")))
    body = (await front.post(CHAT, chat(logprobs=True, top_logprobs=2))).json()
    content = body["choices"][0]["logprobs"]["content"]
    assert bytes(byte for one in content for byte in one["bytes"]) == "hi🦊".encode()
    assert [one["logprob"] for one in content] == [-float(i) for i in range(len(content))]
    assert all(len(one["top_logprobs"]) == 2 for one in content)
    assert content[0]["top_logprobs"][0]["token"] == content[0]["token"]
    assert front.engine.requests[0].sampling.logprobs == 2
    bare = (await front.post(CHAT, chat(logprobs=True))).json()
    assert all(one["top_logprobs"] == [] for one in bare["choices"][0]["logprobs"]["content"])


async def test_roles_and_parts(tmp_path: Path) -> None:
    front = world(tmp_path, says("hi"))
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "world"}]
    answered: dict[str, object] = {
        "role": "assistant",
        "content": "yes",
        "refusal": None,
        "tool_calls": None,
        "annotations": [],
    }
    messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": parts}, answered, w.USER[0]]
    assert (await front.post(CHAT, chat(messages=messages))).status_code == 200
    plain = [("system", "be kind"), ("user", "hello\nworld"), ("assistant", "yes"), ("user", "hello")]
    assert front.engine.requests[0].prompt == templated([{"role": r, "content": c} for r, c in plain])


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Overloaded("full", retry_after_s=2.2), 429, {"retry-after": "3"}),
        (AdapterFailed("no bytes"), 503, {"retry-after": "1"}),
        (ReplicaFailed("gone"), 503, {"retry-after": "1"}),
        (AdapterIncompatible("wrong shape"), 422, {"x-should-retry": "false"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_fails_before_the_first_token_has_its_status(
    tmp_path: Path, error: QuickchangeError, status: int, headers: dict[str, str], stream: bool
) -> None:
    front = world(tmp_path, lambda request: [error])
    response = await front.post(CHAT, chat(stream=stream))
    assert response.status_code == status
    assert response.json()["error"]["code"] == error.code
    assert response.json()["error"]["message"] == error.message
    assert {name: response.headers.get(name) for name in headers} == headers


async def test_what_fails_inside_a_stream_is_an_event_and_the_end(tmp_path: Path) -> None:
    def breaks(request: GenerateRequest) -> list[w.Step]:
        return [*plays(encode("hello world"))(request)[:1], ReplicaFailed("the replica went away")]

    response = await world(tmp_path, breaks).post(CHAT, chat(stream=True))
    assert response.status_code == 200
    *chunks, last, end = response.text.split("\n\n")
    assert end == ""
    assert "[DONE]" not in response.text
    assert '"code":"replica_failed"' in last
    assert len(chunks) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", [[], [KeyError("a defect")]])
async def test_a_defect_is_an_internal_error(tmp_path: Path, stream: bool, steps: list[w.Step]) -> None:
    response = await world(tmp_path, lambda request: steps).post(CHAT, chat(stream=stream))
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "defect" not in response.text


async def test_a_defect_inside_a_stream_is_told_too(tmp_path: Path) -> None:
    def breaks(request: GenerateRequest) -> list[w.Step]:
        return [*plays(encode("hello world"))(request)[:1], KeyError("a defect")]

    response = await world(tmp_path, breaks).post(CHAT, chat(stream=True))
    assert '"code":"internal_error"' in response.text
    assert "defect" not in response.text
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_ends_a_request(tmp_path: Path, stream: bool) -> None:
    front = world(tmp_path, lambda request: [w.HANG], Limits(deadline_s=0.05))
    response = await front.post(CHAT, chat(stream=stream))
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert len(front.engine.closed) == 1


async def test_the_deadline_inside_a_stream_is_an_event(tmp_path: Path) -> None:
    front = world(tmp_path, lambda request: [*plays(encode("hello"))(request)[:1], w.HANG], Limits(deadline_s=0.2))
    response = await front.post(CHAT, chat(stream=True))
    assert '"code":"deadline_exceeded"' in response.text.split("\n\n")[-2]
    assert len(front.engine.closed) == 1
