"""Fields that other tools write into ``adapter_config.json`` for their own use, and that PEFT ignores."""

from __future__ import annotations

_MLX = (
    "adapter_path", "batch_size", "clear_cache_threshold", "config", "data", "fine_tune_type",
    "grad_accumulation_steps", "grad_checkpoint", "iters", "learning_rate", "lora_layers", "lora_parameters",
    "lr_schedule", "mask_prompt", "max_seq_length", "model", "num_layers", "optimizer", "optimizer_config",
    "project_name", "report_to", "resume_adapter_file", "save_every", "seed", "steps_per_eval", "steps_per_report",
    "test", "test_batches", "train", "val_batches", "wandb",
)  # fmt: skip
_SWIFT = ("lora_dtype", "lorap_emb_lr", "lorap_lr_ratio", "swift_version")
_OLDER_PEFT = ("merge_weights",)
_TRANSFORMERS = ("_commit_hash", "_from_model_config", "_name_or_path", "transformers_version")
_LORA_PLUS = ("loraplus_lr_embedding", "loraplus_lr_ratio")
_UNSLOTH = ("unsloth_fixed", "unsloth_version")
_BY_TOOL = {
    "MLX": _MLX,
    "ms-swift": _SWIFT,
    "an older PEFT": _OLDER_PEFT,
    "transformers": _TRANSFORMERS,
    "LoRA+": _LORA_PLUS,
    "Unsloth": _UNSLOTH,
}
BOOKKEEPING = {name: tool for tool, names in _BY_TOOL.items() for name in names}
"""By field: the tool that writes it. None of them affects the meaning of the tensors, except those in ``ONLY``."""
ONLY: dict[str, tuple[object, ...]] = {"fine_tune_type": ("lora",)}
"""Bookkeeping only at these values; other values mean that the tensors are no plain LoRA."""


def bookkeeping(name: str, value: object) -> str | None:
    """The tool whose bookkeeping the field is; None if it may have an effect."""
    return BOOKKEEPING.get(name) if name not in ONLY or value in ONLY[name] else None
