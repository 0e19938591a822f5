"""Completions over HTTP: the kinds of prompt, many prompts, the older logprobs shape."""

from __future__ import annotations

from pathlib import Path

from service.errors import ReplicaFailed
from service.values import Event, FinishReason, GenerateRequest, SamplingParams, TokenLogprob
from tests.service.api import world as w
from tests.service.api.world import COMPLETIONS, completion, encode, events, plays, says, world


def echo(request: GenerateRequest) -> list[w.Step]:
    """Says its prompt, so that an answer tells whose it is."""
    return list(plays(*(list(request.prompt) + encode(str(i)) for i in range(request.n)))(request))


async def test_a_whole_answer(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello world"))
    body = (await front.post(COMPLETIONS, completion())).json()
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert body["choices"] == [{"index": 0, "text": "hello world", "logprobs": None, "finish_reason": "stop"}]
    assert front.engine.requests[0].prompt == tuple(encode("hello"))
    assert front.engine.requests[0].sampling.max_tokens == 16


async def test_every_kind_of_prompt(tmp_path: Path) -> None:
    ids, more = encode("hello"), encode("the fox")
    for prompt, meant in [
        ("hello", [ids]),
        (["hello", "the fox"], [ids, more]),
        (ids, [ids]),
        ([ids, more], [ids, more]),
    ]:
        front = world(tmp_path, echo)
        body = (await front.post(COMPLETIONS, completion(prompt=prompt))).json()
        assert [list(request.prompt) for request in front.engine.requests] == meant
        assert len(body["choices"]) == len(meant)


async def test_choices_are_numbered_over_prompts_and_n(tmp_path: Path) -> None:
    front = world(tmp_path, echo)
    asked = completion(prompt=["hello", "the fox", "you"], n=2)
    body = (await front.post(COMPLETIONS, asked)).json()
    expected = ["hello0", "hello1", "the fox0", "the fox1", "you0", "you1"]
    assert [choice["text"] for choice in body["choices"]] == expected
    assert [choice["index"] for choice in body["choices"]] == list(range(6))
    ids = [request.request_id for request in front.engine.requests]
    assert len(set(ids)) == 3
    assert all(one.startswith(body["id"].removeprefix("cmpl-")) for one in ids)
    assert body["usage"]["prompt_tokens"] == sum(len(request.prompt) for request in front.engine.requests)
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 12

    streamed = events(await front.post(COMPLETIONS, asked | {"stream": True}))
    joined = ["".join(c["choices"][0]["text"] for c in streamed if c["choices"][0]["index"] == i) for i in range(6)]
    assert joined == expected
    assert sorted(c["choices"][0]["index"] for c in streamed if c["choices"][0]["finish_reason"]) == list(range(6))


async def test_one_failed_prompt_fails_the_request_and_ends_the_others(tmp_path: Path) -> None:
    def second_fails(request: GenerateRequest) -> list[w.Step]:
        return [ReplicaFailed("gone")] if request.request_id.endswith("-1") else [w.HANG]

    front = world(tmp_path, second_fails)
    response = await front.post(COMPLETIONS, completion(prompt=["a", "b", "c"]))
    assert response.status_code == 503
    assert len(front.engine.closed) == 3


async def test_logprobs(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello 🦊 world"))
    body = (await front.post(COMPLETIONS, completion(logprobs=2, max_tokens=50))).json()
    choice = body["choices"][0]
    shown = choice["logprobs"]
    assert set(shown) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert len(shown["tokens"]) == len(shown["top_logprobs"]) == len(encode("hello 🦊 world"))
    assert shown["tokens"][0] == choice["text"][: len(shown["tokens"][0])]
    assert any(token.startswith("bytes:\\x") for token in shown["tokens"])
    assert all(token in top for token, top in zip(shown["tokens"], shown["top_logprobs"], strict=True))
    for token, offset in zip(shown["tokens"], shown["text_offset"], strict=True):
        assert token.startswith("bytes:") or choice["text"][offset:].startswith(token)


async def test_infinite_logprobs_stay_json(tmp_path: Path) -> None:
    def unlikely(request: GenerateRequest) -> list[w.Step]:
        probs = (TokenLogprob(float("-inf"), ((70, float("-inf")),)),)
        return [[Event(request.request_id, 0, (70,), probs, FinishReason.LENGTH)]]

    body = (await world(tmp_path, unlikely).post(COMPLETIONS, completion(logprobs=1))).json()
    assert body["choices"][0]["logprobs"]["token_logprobs"] == [-9999.0]


async def test_max_tokens_left_out_near_the_end_of_the_context_is_what_is_left(tmp_path: Path) -> None:
    front = world(tmp_path, says("hi"))
    response = await front.post(COMPLETIONS, completion(prompt=[70] * (w.CONTEXT - 5)))
    assert response.status_code == 200
    assert front.engine.requests[0].sampling.max_tokens == 5


async def test_sampling_parameters_arrive(tmp_path: Path) -> None:
    front = world(tmp_path, says("hi"))
    asked = completion(
        temperature=0.5, top_p=0.9, top_k=40, min_p=0.1, seed=-1, presence_penalty=1.5, frequency_penalty=-2,
        repetition_penalty=1.1, logit_bias={"5": -100, "7": 2.5}, ignore_eos=True, max_tokens=3,
    )  # fmt: skip
    assert (await front.post(COMPLETIONS, asked)).status_code == 200
    assert front.engine.requests[0].sampling == SamplingParams(
        max_tokens=3, temperature=0.5, top_p=0.9, top_k=40, min_p=0.1, seed=-1, presence_penalty=1.5,
        frequency_penalty=-2.0, repetition_penalty=1.1, logit_bias=((5, -100.0), (7, 2.5)), ignore_eos=True,
    )  # fmt: skip
    await front.post(COMPLETIONS, completion(top_p=0, top_k=-1))
    assert front.engine.requests[1].sampling.top_p == 1e-6
    assert front.engine.requests[1].sampling.top_k == 0
