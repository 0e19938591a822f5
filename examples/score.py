"""How many held-out answers are in the wanted voice, with each adapter and with the base alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from examples.voices import ROOT, Voice, read_heldout
from service.base import PreparedBase, load_model

SCORES = ROOT / "scores.json"
ANSWER_TOKENS = 64
_BATCH = 10
"""Questions per batch."""


def score(base: PreparedBase, voices: Sequence[Voice], report: Callable[[str], None]) -> None:
    """Answers every held-out question greedily with the saved adapters; writes the counts to ``scores.json``."""
    tokenizer = AutoTokenizer.from_pretrained(base.path, padding_side="left")
    model = load_model(base.path, "bfloat16", "cpu", "sdpa")
    questions = read_heldout()
    report(f"{base.name}: {len(questions)} held-out questions")
    plain = answers(model, tokenizer, questions)
    found = {}
    for voice in voices:
        with _under(model, voice) as adapted:
            told = answers(adapted, tokenizer, questions)
        hits, by_base = (sum(map(voice.follows, given)) for given in (told, plain))
        found[voice.model] = {"in_voice": hits, "base_in_voice": by_base, "heldout": len(questions)}
        report(f"{voice.model}: {hits} of {len(questions)} in voice, the base alone {by_base}")
        for question, answer in list(zip(questions, told, strict=True))[:5]:
            report(f"  {question}\n    {answer!r}")
        for question, answer in zip(questions, told, strict=True):
            if not voice.follows(answer):
                report(f"  not in voice: {question}\n    {answer!r}")
    SCORES.write_text(json.dumps({"answer_tokens": ANSWER_TOKENS, "scores": found}, indent=2) + "\n", "utf-8")
    report(f"written: {SCORES.name}")


@torch.inference_mode()
def answers(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[str]
) -> list[str]:
    """One greedy answer per question, of at most ``ANSWER_TOKENS`` tokens."""
    found: list[str] = []
    for start in range(0, len(questions), _BATCH):
        chats = [[{"role": "user", "content": question}] for question in questions[start : start + _BATCH]]
        read = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        told = model.generate(
            **read, max_new_tokens=ANSWER_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        found += tokenizer.batch_decode(told[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


@contextmanager
def _under(model: PreTrainedModel, voice: Voice) -> Iterator[PeftModel]:
    """``model`` with the voice's adapter during the block; unchanged afterwards."""
    adapted = PeftModel.from_pretrained(model, voice.folder)
    try:
        yield adapted.eval()
    finally:
        adapted.unload()
