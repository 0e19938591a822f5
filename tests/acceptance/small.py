"""A base of two layers, with which a service is ready soon: what these tests ask of it is not what it says."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from service.base import load_model
from tests.models import random_adapter, save
from tests.service.api.world import tokenizer

CONTEXT = 1 << 18
"""Tokens: a stream of so many outlives every test."""
TARGETS = ["q_proj", "v_proj", "down_proj"]


def save_small_base(folder: Path) -> Path:
    """Random weights and a tokenizer with a chat template, as a base's directory."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def load_small_base(folder: Path) -> PreTrainedModel:
    return load_model(folder, "float32", "cpu", attn_implementation="eager")


def save_adapter(base: PreTrainedModel, folder: Path, seed: int, rank: int = 4, strength: float = 0.15) -> Path:
    """A random LoRA adapter of ``base``, strong enough to change every answer."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS, task_type="CAUSAL_LM")
    return save(random_adapter(base, config, seed, strength), folder)
