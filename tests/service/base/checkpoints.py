"""Small random checkpoints on disk, of every architecture that the service names."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

VOCABULARY = 48
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**_GROUPED),
    "qwen2": Qwen2Config(**_GROUPED),
    "mistral": MistralConfig(**_GROUPED),
    "gemma": GemmaConfig(**_GROUPED, head_dim=4),
    "gemma2": Gemma2Config(**_GROUPED, head_dim=4),
    "gemma3": Gemma3TextConfig(**_GROUPED, head_dim=4),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
    ),
    "opt": OPTConfig(**{**_SIZES, "ffn_dim": 24, "word_embed_proj_dim": 8}),
    "gpt_neox": GPTNeoXConfig(**_SIZES),
    "phi3": Phi3Config(**_GROUPED),
}


def model(architecture: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(CONFIGS[architecture]).eval()


def tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(VOCABULARY)}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0"
    )
    made.chat_template = "{{ messages }}"
    return made


def checkpoint(path: Path, architecture: str = "llama", seed: int = 0, shard_size: str = "1GB") -> Path:
    model(architecture, seed).save_pretrained(path, max_shard_size=shard_size)
    tokenizer().save_pretrained(path)
    return path
