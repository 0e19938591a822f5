"""Bad input: each a 4xx in OpenAI's shape, naming the field, and nothing reaches the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.settings import Limits
from tests.service.api.world import BASE_NAME, CHAT, COMPLETIONS, CONTEXT, USER, World, chat, completion, says, world

INVALID, UNSUPPORTED = "invalid_value", "unsupported_parameter"


def message(**more: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": "hello"} | more])


def streamed(**options: Any) -> dict[str, Any]:
    return {"stream": True, "stream_options": options}


EITHER: list[tuple[dict[str, Any], str, str]] = [
    ({"stop_token_ids": 1}, INVALID, "stop_token_ids"),
    ({"stop_token_ids": [-1]}, INVALID, "stop_token_ids[0]"),
    ({"stop_token_ids": [True]}, INVALID, "stop_token_ids[0]"),
    ({"stop_token_ids": [99_999]}, INVALID, "stop_token_ids"),
    ({"stop_token_ids": [1] * 17}, INVALID, "stop_token_ids"),
    ({"min_tokens": -1}, INVALID, "min_tokens"),
    ({"min_tokens": 5, "max_tokens": 4}, INVALID, "min_tokens"),
    ({"truncate_prompt_tokens": 0}, INVALID, "truncate_prompt_tokens"),
    ({"truncate_prompt_tokens": -2}, INVALID, "truncate_prompt_tokens"),
    ({"include_stop_str_in_output": "yes"}, INVALID, "include_stop_str_in_output"),
    ({"skip_special_tokens": 1}, INVALID, "skip_special_tokens"),
    ({"model": None}, INVALID, "model"),
    ({"model": ""}, INVALID, "model"),
    ({"model": 7}, INVALID, "model"),
    ({"model": "x" * 2000}, INVALID, "model"),
    ({"temperature": 2.1}, INVALID, "temperature"),
    ({"temperature": -0.1}, INVALID, "temperature"),
    ({"temperature": "1"}, INVALID, "temperature"),
    ({"temperature": True}, INVALID, "temperature"),
    ({"top_p": 1.5}, INVALID, "top_p"),
    ({"top_k": 1.5}, INVALID, "top_k"),
    ({"top_k": -2}, INVALID, "top_k"),
    ({"min_p": -1}, INVALID, "min_p"),
    ({"n": 0}, INVALID, "n"),
    ({"n": 17}, INVALID, "n"),
    ({"n": True}, INVALID, "n"),
    ({"n": "2"}, INVALID, "n"),
    ({"n": 10**30}, INVALID, "n"),
    ({"max_tokens": 0}, INVALID, "max_tokens"),
    ({"max_tokens": -2}, INVALID, "max_tokens"),
    ({"max_tokens": "16"}, INVALID, "max_tokens"),
    ({"max_tokens": 1.0}, INVALID, "max_tokens"),
    ({"max_tokens": 10**12}, INVALID, "max_tokens"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, INVALID, "max_completion_tokens"),
    ({"max_tokens": CONTEXT}, "context_length_exceeded", "max_tokens"),
    ({"seed": 1 << 63}, INVALID, "seed"),
    ({"seed": 1.5}, INVALID, "seed"),
    ({"stop": ""}, INVALID, "stop"),
    ({"stop": ["a", ""]}, INVALID, "stop"),
    ({"stop": ["a", 1]}, INVALID, "stop"),
    ({"stop": {"a": 1}}, INVALID, "stop"),
    ({"stop": ["a"] * 17}, INVALID, "stop"),
    ({"stop": "a" * 257}, INVALID, "stop"),
    ({"presence_penalty": 2.5}, INVALID, "presence_penalty"),
    ({"frequency_penalty": "x"}, INVALID, "frequency_penalty"),
    ({"repetition_penalty": 0}, INVALID, "repetition_penalty"),
    ({"repetition_penalty": 1e-300}, INVALID, "repetition_penalty"),
    ({"logit_bias": []}, INVALID, "logit_bias"),
    ({"logit_bias": {"x": 1}}, INVALID, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, INVALID, "logit_bias"),
    ({"logit_bias": {"5": 101}}, INVALID, "logit_bias"),
    ({"logit_bias": {"5": True}}, INVALID, "logit_bias"),
    ({"logit_bias": {"5": []}}, INVALID, "logit_bias"),
    ({"logit_bias": {"99999": 1}}, INVALID, "logit_bias"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, INVALID, "logit_bias"),
    ({"stream": 1}, INVALID, "stream"),
    ({"stream": "true"}, INVALID, "stream"),
    ({"stream_options": {"include_usage": True}}, INVALID, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, INVALID, "stream_options.include_usage"),
    (streamed(continuous_usage_stats=1), INVALID, "stream_options.continuous_usage_stats"),
    (streamed(include_obfuscation=True), UNSUPPORTED, "stream_options.include_obfuscation"),
    ({"user": 5}, INVALID, "user"),
    ({"user": "x" * 513}, INVALID, "user"),
    ({"user": "\ud83d"}, INVALID, "user"),
    ({"metadata": {"k": 1}}, INVALID, "metadata.k"),
    ({"metadata": {"k": "\udc00"}}, INVALID, "metadata.k"),
    ({"metadata": {str(i): "" for i in range(17)}}, INVALID, "metadata"),
    ({"store": "yes"}, INVALID, "store"),
    ({"ignore_eos": 1}, INVALID, "ignore_eos"),
    ({"response_format": {"type": "json_object"}}, UNSUPPORTED, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, UNSUPPORTED, "response_format"),
    ({"tools": [{"type": "function"}]}, UNSUPPORTED, "tools"),
    ({"tool_choice": "required"}, UNSUPPORTED, "tool_choice"),
    ({"functions": [{}]}, UNSUPPORTED, "functions"),
    ({"audio": {"voice": "x"}}, UNSUPPORTED, "audio"),
    ({"modalities": ["text", "audio"]}, UNSUPPORTED, "modalities"),
    ({"web_search_options": {}}, UNSUPPORTED, "web_search_options"),
    ({"echo": True}, UNSUPPORTED, "echo"),
    ({"best_of": 2}, UNSUPPORTED, "best_of"),
    ({"best_of": True}, UNSUPPORTED, "best_of"),
    ({"suffix": "end"}, UNSUPPORTED, "suffix"),
]

CHATS = [
    (chat(messages=[]), INVALID, "messages"),
    (chat(messages=None), INVALID, "messages"),
    (chat(messages="hello"), INVALID, "messages"),
    (chat(messages=["hello"]), INVALID, "messages[0]"),
    (chat(messages=USER * 1025), INVALID, "messages"),
    ({"model": "acme/support"}, INVALID, "messages"),
    ({"messages": USER}, INVALID, "model"),
    (chat(prompt="hello"), UNSUPPORTED, "prompt"),
    (chat(continue_final_message=True, add_generation_prompt=True), INVALID, "add_generation_prompt"),
    (chat(chat_template="{{ messages }}"), UNSUPPORTED, "chat_template"),
    (chat(chat_template_kwargs=[]), INVALID, "chat_template_kwargs"),
    (chat(chat_template_kwargs={str(i): i for i in range(65)}), INVALID, "chat_template_kwargs"),
    (chat(chat_template_kwargs={"a": "x" * 20_000}), INVALID, "chat_template_kwargs"),
    (chat(chat_template_kwargs={"messages": []}), INVALID, "chat_template_kwargs.messages"),
    (chat(chat_template_kwargs={"raise_exception": 1}), INVALID, "chat_template_kwargs.raise_exception"),
    (chat(chat_template_kwargs={"range": 1}), INVALID, "chat_template_kwargs.range"),
    (chat(chat_template_kwargs={"eos_token": "x"}), INVALID, "chat_template_kwargs.eos_token"),
    (chat(chat_template_kwargs={"documents": []}), INVALID, "chat_template_kwargs.documents"),
    (chat(logprobs=3), INVALID, "logprobs"),
    (chat(logprobs=True, top_logprobs=21), INVALID, "top_logprobs"),
    (chat(top_logprobs=2), INVALID, "top_logprobs"),
    (message(role="wizard"), INVALID, "messages[0].role"),
    (message(role=["user"]), INVALID, "messages[0].role"),
    (message(role="tool", tool_call_id=None), UNSUPPORTED, "messages[0].role"),
    (message(content=None), INVALID, "messages[0].content"),
    (message(content=5), INVALID, "messages[0].content"),
    (message(content="a\ud800b"), INVALID, "messages[0].content"),
    (message(content=[{"type": "text", "text": "\udfff"}]), INVALID, "messages[0].content[0].text"),
    (message(content=[{"type": "image_url", "image_url": {}}]), UNSUPPORTED, "messages[0].content[0]"),
    (message(content=[{"type": "text"}]), INVALID, "messages[0].content[0]"),
    (message(content=["hello"]), INVALID, "messages[0].content[0]"),
    (message(tool_calls=[{"id": "x"}]), UNSUPPORTED, "messages[0].tool_calls"),
    (message(prefix=True), UNSUPPORTED, "messages[0].prefix"),
    (message(name="x" * 513), INVALID, "messages[0].name"),
    (chat(messages=[*USER, {"role": "system", "content": "late"}]), INVALID, "messages"),
    (message(content="hello " * 1000), "context_length_exceeded", "messages"),
    (message(content="hello " * 20_000), "context_length_exceeded", "messages"),
]

COMPLETES = [
    (completion(prompt=None), INVALID, "prompt"),
    (completion(prompt=""), INVALID, "prompt"),
    (completion(prompt=[]), INVALID, "prompt"),
    (completion(prompt=[[]]), INVALID, "prompt"),
    (completion(prompt={"a": 1}), INVALID, "prompt"),
    (completion(prompt=[1, "a"]), INVALID, "prompt"),
    (completion(prompt=["a", [1]]), INVALID, "prompt"),
    (completion(prompt=[True]), INVALID, "prompt"),
    (completion(prompt=[-1]), INVALID, "prompt"),
    (completion(prompt=[1.0]), INVALID, "prompt"),
    (completion(prompt=[99_999]), INVALID, "prompt"),
    (completion(prompt=["a"] * 17), INVALID, "prompt"),
    (completion(prompt=["a"] * 9, n=2), INVALID, "n"),
    (completion(prompt=["fine", "\ud83d"]), INVALID, "prompt[1]"),
    (completion(prompt=[70] * CONTEXT), "context_length_exceeded", "prompt"),
    (completion(prompt="hello " * 20_000), "context_length_exceeded", "prompt"),
    (completion(messages=USER), UNSUPPORTED, "messages"),
    (completion(prompt=[9**90]), INVALID, "prompt"),
    (completion(prompt="hello", add_special_tokens=False), UNSUPPORTED, "add_special_tokens"),
    (completion(logprobs=True), INVALID, "logprobs"),
    (completion(logprobs=21), INVALID, "logprobs"),
    ({"model": "acme/support"}, INVALID, "prompt"),
]

CASES = [(CHAT, chat(**more), code, param) for more, code, param in EITHER]
CASES += [(COMPLETIONS, completion(**more), code, param) for more, code, param in EITHER]
CASES += [(CHAT, body, code, param) for body, code, param in CHATS]
CASES += [(COMPLETIONS, body, code, param) for body, code, param in COMPLETES]


async def refused(front: World, path: str, body: object, code: str, param: str | None) -> None:
    response = await front.post(path, body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert error["message"]
    assert len(response.text) < 600
    assert response.headers["x-should-retry"] == "false"
    assert front.engine.requests == []


@pytest.mark.parametrize(
    ("path", "body", "code", "param"), CASES, ids=[f"{p}-{str(b)[-60:]}" for p, b, _, _ in CASES]
)
async def test_refused_by_name(tmp_path: Path, path: str, body: object, code: str, param: str) -> None:
    await refused(world(tmp_path, says("never")), path, body, code, param)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"nonsense", b"[]", b"null", b'"x"', b"5", b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}",
        b'{"model": "\xed\xa0\x80"}',
        b'{"temperature": NaN}', b'{"temperature": Infinity}', b'{"temperature": -Infinity}', b"[" * 100_000,
        b'{"n": ' + b"9" * 10_000 + b"}", json.dumps(chat()).encode("utf-16"), json.dumps(chat()).encode() + b"x",
    ],
    ids=lambda raw: repr(raw[:24]),
)  # fmt: skip
async def test_what_is_no_json_object(tmp_path: Path, raw: bytes) -> None:
    await refused(world(tmp_path, says("never")), CHAT, raw, INVALID, None)


async def test_a_number_too_large_for_a_float(tmp_path: Path) -> None:
    raw = json.dumps(chat(temperature=0)).replace('"temperature": 0', '"temperature": 1e999').encode()
    await refused(world(tmp_path, says("never")), CHAT, raw, INVALID, "temperature")


async def test_a_lone_surrogate_as_a_field_name(tmp_path: Path) -> None:
    response = await world(tmp_path, says("never")).post(CHAT, chat(**{"\ud800": 1}))
    assert response.status_code == 400


async def test_a_pair_of_surrogate_escapes_is_one_character(tmp_path: Path) -> None:
    body = json.dumps(message(content="😀"))
    assert "\\ud83d\\ude00" in body
    assert (await world(tmp_path, says("fine")).post(CHAT, body.encode())).status_code == 200


NEUTRAL = {
    "response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "functions": [], "function_call": "auto",
    "echo": False, "best_of": 1, "suffix": None, "store": True, "metadata": {"k": "v"}, "parallel_tool_calls": True,
    "service_tier": "auto", "reasoning_effort": None, "audio": None, "modalities": ["text"], "prediction": None,
    "safety_identifier": "me", "prompt_cache_key": "k", "verbosity": None, "web_search_options": None,
}  # fmt: skip


async def test_what_asks_for_nothing_passes(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    assert (await front.post(CHAT, chat(**NEUTRAL))).status_code == 200
    assert (await front.post(COMPLETIONS, completion(**NEUTRAL))).status_code == 200


NULLABLE = [
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "n", "logprobs",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "stream", "stream_options", "user",
    "ignore_eos", *NEUTRAL,
]  # fmt: skip


async def test_null_is_the_same_as_left_out(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    nulls = dict.fromkeys(NULLABLE)
    assert (await front.post(CHAT, chat(**nulls, top_logprobs=None))).status_code == 200
    assert (await front.post(COMPLETIONS, completion(**nulls))).status_code == 200
    with_nulls, without = front.engine.requests, world(tmp_path, says("fine"))
    await without.post(CHAT, chat())
    assert with_nulls[0].sampling == without.engine.requests[0].sampling


@pytest.mark.parametrize("model", ["acme/nothing", "acme/support@9", "globex/support", "globex/draft", "nothing"])
async def test_unknown_models_look_the_same(tmp_path: Path, model: str) -> None:
    front = world(tmp_path, says("never"))
    response = await front.post(CHAT, chat(model=model))
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": f"The model `{model}` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert response.headers["x-should-retry"] == "false"
    assert front.engine.requests == []


async def test_an_adapter_of_another_base_is_incompatible(tmp_path: Path) -> None:
    response = await world(tmp_path, says("never")).post(CHAT, chat(model="acme/elsewhere@1"))
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "adapter_incompatible"


async def test_a_base_without_a_template_says_where_to_go(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"), chat_template=False)
    response = await front.post(CHAT, chat(model=BASE_NAME))
    assert response.status_code == 400
    assert "/v1/completions" in response.json()["error"]["message"]
    assert (await front.post(COMPLETIONS, completion(model=BASE_NAME))).status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from([*NULLABLE, "model", "messages", "prompt", "top_logprobs", "x"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(more=st.dictionaries(fields, json_values, max_size=3), whole=st.booleans())
async def test_no_json_makes_a_server_error(tmp_path: Path, more: dict[str, Any], whole: bool) -> None:
    front = world(tmp_path, says("fine"), Limits(deadline_s=5))
    path, body = (CHAT, chat(**more)) if whole else (COMPLETIONS, completion(**more))
    response = await front.post(path, body)
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"a": {"b": [1, "\\ud800"]}}', "a.b[1]"),
        (b'{"' + b"k" * 1000 + b'": ["\\ud800"]}', "k" * 200),
        (b'{"a": 1, "a\\udfff": 2}', ""),
    ],
)
async def test_a_lone_surrogate_is_named_by_a_short_path(tmp_path: Path, raw: bytes, param: str) -> None:
    await refused(world(tmp_path, says("never")), CHAT, raw, INVALID, param)


async def test_a_lone_surrogate_that_a_later_key_replaced_is_none(tmp_path: Path) -> None:
    raw = json.dumps(chat(user="ok")).replace('"user": "ok"', '"user": "\\ud800", "user": "ok"').encode()
    assert (await world(tmp_path, says("fine")).post(CHAT, raw)).status_code == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(
    "raw",
    [b'{"x": [' + b"[]," * 20_000 + b"0]}", b"[" * 65, b'{"a":' * 65, b'{"x": [' + b"0," * (1 << 19) + b"0]}"],
    ids=["lists", "depth", "objects", "values"],
)
async def test_what_would_cost_too_much_to_parse(tmp_path: Path, path: str, raw: bytes) -> None:
    await refused(world(tmp_path, says("never")), path, raw, INVALID, None)
