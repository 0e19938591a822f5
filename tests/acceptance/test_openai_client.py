"""The official client, unchanged, against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.acceptance.up import Up, eventually

pytestmark = pytest.mark.acceptance

BASE = "smollm2-135m-instruct"
MODEL = "clienttest/wild"


@pytest.fixture(scope="module")
def client(up: Up, folders: list[Path]) -> Iterator[openai.OpenAI]:
    up.quickchange("push", str(folders[2]), MODEL)
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", timeout=60.0) as client:
        eventually(lambda: MODEL in [model.id for model in client.models.list()])
        yield client


def test_models(client: openai.OpenAI) -> None:
    base, adapter = client.models.retrieve(BASE), client.models.retrieve(MODEL)
    assert (base.id, adapter.id) == (BASE, MODEL)
    assert adapter.model_extra is not None
    assert adapter.model_extra["parent"] == BASE


def test_chat_with_usage_logprobs_and_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}],
        max_completion_tokens=8,
        n=3,
        seed=7,
        temperature=1.0,
        logprobs=True,
        top_logprobs=2,
        extra_body={"ignore_eos": True},
    )
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    assert answer.system_fingerprint
    for choice in answer.choices:
        assert choice.finish_reason == "length"
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in choice.logprobs.content)


def test_vllms_own_fields(client: openai.OpenAI) -> None:
    forced = {"model": MODEL, "prompt": "The", "max_tokens": 9, "temperature": 0.0, "logit_bias": {"260": 100}}
    own = {"stop_token_ids": [260], "min_tokens": 4, "include_stop_str_in_output": True, "new_field": 1}
    raw = client.completions.with_raw_response.create(**forced, extra_body=own)
    answer = raw.parse()
    assert raw.headers["x-ignored-parameters"] == "new_field"
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("stop", 4)
    assert answer.choices[0].text.endswith(" the")
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(client.completions.create(**forced, stream=True, stream_options=options))  # type: ignore[call-overload]
    spent = [chunk.usage.completion_tokens for chunk in chunks]
    assert spent == sorted(spent)
    assert spent[-1] == 9


# High temperature over 49,152 tokens: the text is full of characters whose bytes are spread over several tokens.
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stop", [None, ["e", "in the"], ["\n", " a"]])
def test_a_joined_stream_is_the_whole_text(client: openai.OpenAI, seed: int, stop: list[str] | None) -> None:
    wanted = {"model": MODEL, "prompt": "你好 🦜", "max_tokens": 40, "temperature": 1.8, "seed": seed, "stop": stop}
    whole = client.completions.create(**wanted)
    chunks = list(client.completions.create(**wanted, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].text
    assert not any(string in text for string in stop or [])
    last = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1]
    assert last == whole.choices[0].finish_reason
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_errors_are_its_exceptions(client: openai.OpenAI) -> None:
    for wrong, kind, code in [
        ({"model": "nobody/none"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": 10**6}, openai.BadRequestError, "context_length_exceeded"),
        ({"temperature": 9}, openai.BadRequestError, "invalid_value"),
        ({"extra_body": {"guided_json": {}}}, openai.BadRequestError, "unsupported_parameter"),
        ({"model": "a/b/c/d"}, openai.NotFoundError, "model_not_found"),
        ({"n": 1000}, openai.BadRequestError, "invalid_value"),
        ({"prompt": [10**7]}, openai.BadRequestError, "invalid_value"),
        ({"extra_body": {"suffix": "x"}}, openai.BadRequestError, "unsupported_parameter"),
    ]:
        with pytest.raises(kind) as caught:
            client.completions.create(**{"model": BASE, "prompt": "Once"} | wrong)
        assert caught.value.code == code, wrong
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=BASE, messages=[])
