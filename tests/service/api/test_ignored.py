"""What is ignored is reported; what asks for nothing passes; null is absence, nested too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.settings import Limits
from tests.service.api.world import CHAT, COMPLETIONS, USER, World, chat, completion, says, world

REPORTED = "x-ignored-parameters"

# Bodies that clients send, each of which was refused once: nulls beside everything, text parts and messages with
# fields of other APIs, tools that are not to be used.
SENT: list[dict[str, Any]] = [
    {"chat_template_kwargs": None},
    {"messages": [*USER, {"role": "assistant", "content": "Hello.", "reasoning_content": None}, *USER]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": None}]}]},
    {"messages": [*USER, {"role": "assistant", "content": None}, *USER]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "tool_choice": "none"},
    {"functions": [{"name": "f"}], "function_call": "none"},
    {"add_generation_prompt": True, "continue_final_message": False, "skip_special_tokens": True},
    {"stream_options": None, "logit_bias": {"5": None}, "metadata": {"k": None}},
    {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": None, "new": None}},
    {"response_format": {"type": "text", "json_schema": None}, "service_tier": "auto", "priority": 0},
]


@pytest.mark.parametrize("more", SENT, ids=lambda more: str(sorted(more)))
async def test_what_asks_for_nothing_passes_and_is_not_reported(tmp_path: Path, more: dict[str, Any]) -> None:
    response = await world(tmp_path, says("fine")).post(CHAT, chat(**more))
    assert response.status_code == 200, response.text
    assert REPORTED not in response.headers


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"reasoning_effort": "high", "verbosity": "low"}, "reasoning_effort, verbosity"),
        ({"service_tier": "flex", "prediction": {"type": "content"}}, "service_tier, prediction"),
        ({"priority": 5, "cache_salt": "x"}, "priority, cache_salt"),
        ({"nonsense": 1}, "nonsense"),
        ({"stream": True, "stream_options": {"chunk": 1}}, "stream_options.chunk"),
        (
            {"messages": [{"role": "user", "content": "a", "weight": 1, "id": "m"}] * 2},
            "messages.weight, messages.id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
            "messages.content.cache_control",
        ),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs.enable_thinking"),
    ],
)
async def test_what_is_ignored_is_reported(tmp_path: Path, more: dict[str, Any], names: str) -> None:
    response = await world(tmp_path, says("fine")).post(CHAT, chat(**more))
    assert response.status_code == 200, response.text
    assert response.headers[REPORTED] == names


async def test_names_in_the_report_are_few_short_and_harmless(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    odd = {"a\r\nset-cookie: x=1": 1, "é😀": 2, "k" * 5000: 3} | {f"name{i}": i for i in range(500)}
    response = await front.post(COMPLETIONS, completion(**odd))
    assert response.status_code == 200
    names = response.headers[REPORTED].split(", ")
    assert names[:3] == ["a??set-cookie??x?1", "??", "k" * 64]
    assert len(names) == 20
    assert "set-cookie" not in response.headers


async def test_what_is_ignored_is_counted_without_the_clients_words(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    await front.post(CHAT, chat(secret_word=1, reasoning_effort="low", priority=3))
    exposed = (await front.get("/metrics")).text
    assert 'quickchange_ignored_parameters_total{known="hint"} 2.0' in exposed
    assert 'quickchange_ignored_parameters_total{known="unknown"} 1.0' in exposed
    assert "secret_word" not in exposed


async def test_it_is_reported_too_where_the_request_is_refused_later(tmp_path: Path) -> None:
    response = await world(tmp_path, says("fine")).post(CHAT, chat(nonsense=1, model="no/such"))
    assert response.status_code == 404
    assert response.headers[REPORTED] == "nonsense"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"messages": [{"role": "user", "content": "a", "weight": 1}]}, "messages.weight"),
        ({"stream": True, "stream_options": {"chunk": 1}}, "stream_options.chunk"),
    ],
)
async def test_unknown_fields_are_refused_where_set_so(tmp_path: Path, more: dict[str, Any], param: str) -> None:
    front = world(tmp_path, says("fine"), Limits(unknown_fields="refuse"))
    response = await front.post(CHAT, chat(**more))
    assert response.status_code == 400
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == ("unknown_parameter", param)
    assert (await front.post(CHAT, chat(reasoning_effort="high"))).status_code == 200


async def test_a_user_without_content_is_still_told_so(tmp_path: Path) -> None:
    response = await world(tmp_path, says("fine")).post(CHAT, chat(messages=[{"role": "user", "content": None}]))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "messages[0].content")


def sampled(front: World) -> Any:
    return front.engine.requests[-1].sampling


async def test_max_tokens_of_minus_one_goes_to_the_end_of_the_context(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    await front.post(COMPLETIONS, completion(max_tokens=-1))
    to_the_end = sampled(front).max_tokens
    await front.post(CHAT, chat(max_completion_tokens=-1))
    assert (to_the_end, sampled(front).max_tokens) == (256 - 1, 256 - len(front.engine.requests[-1].prompt))


async def test_max_tokens_of_zero_is_refused_by_name(tmp_path: Path) -> None:
    response = await world(tmp_path, says("never")).post(COMPLETIONS, completion(max_tokens=0))
    assert response.status_code == 400
    assert "0 is not supported" in response.json()["error"]["message"]


async def test_the_engine_is_given_min_tokens_and_stop_tokens(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    await front.post(CHAT, chat(min_tokens=3, stop_token_ids=[1, 2]))
    assert (sampled(front).min_tokens, sampled(front).stop_token_ids) == (3, (1, 2))


async def test_every_chunk_has_usage_so_far_where_that_is_wanted(tmp_path: Path) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    response = await world(tmp_path, says("a b c")).post(CHAT, chat(stream=True, stream_options=options))
    chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    spent = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert spent == sorted(spent)
    assert spent[0] < spent[-1]
    assert chunks[-1]["choices"] == []
