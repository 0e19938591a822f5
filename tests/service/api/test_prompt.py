"""Prompts to tokens: as transformers does it, and on several threads at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from service.api.encode import Encoder
from service.api.prompt import Prompts
from service.api.schemas import Message
from service.api.template import Rendering, Template
from service.errors import ContextLengthExceeded, InvalidValue
from service.values import ServedBase
from tests.service.api.world import (
    CHAT,
    COMPLETIONS,
    CONTEXT,
    World,
    chat,
    completion,
    encode,
    says,
    tokenizer,
    world,
)

SERVED = ServedBase("base", "sha256:" + "0" * 64, "/nowhere", 100_000, len(tokenizer()))


async def test_special_tokens_are_added_to_completions_and_not_to_templated_chats() -> None:
    backend = tokenizer().backend_tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    with_start = PreTrainedTokenizerFast(tokenizer_object=backend)
    with_start.chat_template = tokenizer().chat_template
    prompts = Prompts(with_start, SERVED)
    assert await prompts.text("hello", "acme") == (0, *encode("hello"))
    assert await prompts.text("", "acme") == (0,)
    chat = await prompts.chat((Message(role="user", content="hello"),), "acme")
    assert 0 not in chat


async def test_long_and_short_texts_at_once() -> None:
    # Tokenizers complain when one thread changes their settings while another reads.
    prompts = Prompts(tokenizer(), SERVED)
    texts = ["hello world " * n for n in (1, 3000, 2, 4000, 3, 5000)] * 3
    together = await asyncio.gather(*(prompts.text(text, "acme") for text in texts))
    assert together == [tuple(encode(text)) for text in texts]
    chats = await asyncio.gather(*(prompts.chat((Message(role="user", content=text),), "acme") for text in texts))
    assert [len(chat) for chat in chats] > [len(text) for text in together]


def test_what_is_left_of_the_context() -> None:
    prompts = Prompts(tokenizer(), SERVED)
    prompt = (5,) * 99_990
    assert prompts.tokens_left(prompt, None, None, "messages") == 10
    assert prompts.tokens_left(prompt, None, 16, "prompt") == 10
    assert prompts.tokens_left(prompt, None, 7, "prompt") == 7
    assert prompts.tokens_left(prompt, 10, None, "messages") == 10
    with pytest.raises(ContextLengthExceeded) as caught:
        prompts.tokens_left(prompt, 11, None, "messages")
    assert "100001" in str(caught.value)


class Counting:
    """A tokenizer that notes how much it is given."""

    def __init__(self) -> None:
        self._inner = tokenizer()
        self.chars = 0

    def __call__(self, text: str, **more: Any) -> Any:
        self.chars += len(text)
        return self._inner(text, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def counted(context: int = 256) -> tuple[Encoder, Counting]:
    counting = Counting()
    return Encoder(cast("PreTrainedTokenizerBase", counting), context), counting


def longest_token() -> int:
    return max(len(piece.encode()) for piece in tokenizer().get_vocab())


def test_what_no_context_can_hold_is_refused_by_its_characters() -> None:
    encoder, counting = counted()
    counting.chars = 0
    with pytest.raises(ContextLengthExceeded, match="characters"):
        encoder.encode("a" * (256 * longest_token() + 1), "prompt", special=True)
    assert counting.chars == 0


def test_a_long_prompt_is_tokenized_no_further_than_it_is_surely_too_long() -> None:
    encoder, counting = counted(20_000)
    text = "z q" * ((20_000 * longest_token()) // 3)
    counting.chars = 0
    with pytest.raises(ContextLengthExceeded, match="have more"):
        encoder.encode(text, "messages", special=False)
    assert counting.chars < 20_000 * 2 < len(text) / 2


@pytest.mark.parametrize("keep", [1, 7, 200])
@pytest.mark.parametrize("text", ["hello world " * 9000, "é😀 the quick brown fox" * 5000, "z" * 40_000])
def test_the_end_of_a_prompt_is_that_of_the_whole(text: str, keep: int) -> None:
    encoder, counting = counted()
    whole = encode(text)
    counting.chars = 0
    assert encoder.encode(text, "prompt", special=True, keep=keep) == whole[-keep:]
    assert counting.chars < len(text) / 2


async def test_a_truncated_prompt_keeps_its_end_and_room_for_the_answer(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    long = "hello world " * 2000
    for body in (
        completion(prompt=long, truncate_prompt_tokens=10),
        completion(prompt=encode(long), truncate_prompt_tokens=10),
        completion(prompt=long, truncate_prompt_tokens=-1, max_tokens=30),
    ):
        assert (await front.post(COMPLETIONS, body)).status_code == 200
    ends = [request.prompt for request in front.engine.requests]
    assert ends[0] == ends[1] == tuple(encode(long)[-10:])
    assert ends[2] == tuple(encode(long)[-(CONTEXT - 30) :])
    assert (await front.post(CHAT, chat(messages=[{"role": "user", "content": long}]))).status_code == 400
    cut = chat(messages=[{"role": "user", "content": long}], truncate_prompt_tokens=-1, max_tokens=10)
    assert (await front.post(CHAT, cut)).status_code == 200
    assert len(front.engine.requests[-1].prompt) == CONTEXT - 10


TURNS = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the quick"}]


async def asked(front: World, **more: Any) -> str:
    response = await front.post(CHAT, chat(**{"messages": TURNS, **more}))
    assert response.status_code == 200, response.text
    return str(tokenizer().decode(front.engine.requests[-1].prompt))


async def test_where_the_answer_begins(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    assert (await asked(front)).endswith("<|im_start|>assistant\n")
    assert (await asked(front, add_generation_prompt=False)).endswith("the quick<|im_end|>\n")
    assert (await asked(front, continue_final_message=True)).endswith("<|im_start|>assistant\nthe quick")


async def test_variables_that_the_template_reads_are_handed_on_and_no_others(tmp_path: Path) -> None:
    named = tokenizer().__class__(tokenizer_object=tokenizer().backend_tokenizer)
    named.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ mood }}"
    template = Template(named)
    given = {"mood": "!", "chat_template": "{{ 7 }}", "tokenize": True, "padding": "max_length"}
    variables, others = template.choose(given)
    assert (variables, others) == ({"mood": "!"}, ["chat_template", "tokenize", "padding"])
    assert template.render((Message(role="user", content="hi"),), Rendering(variables=variables)) == "hi!"
    with pytest.raises(InvalidValue, match="messages"):
        template.choose({"messages": []})


@pytest.mark.parametrize("value", [5, [], {"a": 1}, "x" * 100_000])
async def test_a_template_that_chokes_on_a_value_is_a_refusal(value: object) -> None:
    named = tokenizer().__class__(tokenizer_object=tokenizer().backend_tokenizer)
    named.chat_template = "{{ raise_exception(mood ~ '') if mood is string else 'a' + mood }}"
    with pytest.raises(InvalidValue) as caught:
        Template(named).render((Message(role="user", content="hi"),), Rendering(variables={"mood": value}))
    assert len(caught.value.message) < 400
