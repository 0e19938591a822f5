"""Prompts to tokens: as transformers does it, and on several threads at once."""

from __future__ import annotations

import asyncio

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from service.api.prompt import Prompts
from service.api.schemas import Message
from service.errors import ContextLengthExceeded
from service.values import ServedBase
from tests.service.api.world import encode, tokenizer

SERVED = ServedBase("base", "sha256:" + "0" * 64, "/nowhere", 100_000, len(tokenizer()))


async def test_special_tokens_are_added_to_completions_and_not_to_templated_chats() -> None:
    backend = tokenizer().backend_tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    with_start = PreTrainedTokenizerFast(tokenizer_object=backend)
    with_start.chat_template = tokenizer().chat_template
    prompts = Prompts(with_start, SERVED)
    assert await prompts.text("hello") == (0, *encode("hello"))
    assert await prompts.text("") == (0,)
    chat = await prompts.chat((Message(role="user", content="hello"),))
    assert 0 not in chat


async def test_long_and_short_texts_at_once() -> None:
    # Tokenizers complain when one thread changes their settings while another reads.
    prompts = Prompts(tokenizer(), SERVED)
    texts = ["hello world " * n for n in (1, 3000, 2, 4000, 3, 5000)] * 3
    together = await asyncio.gather(*(prompts.text(text) for text in texts))
    assert together == [tuple(encode(text)) for text in texts]
    chats = await asyncio.gather(*(prompts.chat((Message(role="user", content=text),)) for text in texts))
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
