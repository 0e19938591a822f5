"""Loads a checkpoint directory as a frozen transformers model, or raises ``BaseUnavailable``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from service.errors import BaseUnavailable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def load_model(
    path: Path,
    dtype: Literal["auto", "bfloat16", "float32"],
    device: str,
    attn_implementation: str = "eager",
) -> PreTrainedModel:
    """The causal language model at ``path`` on ``device``: eval mode, no gradient, no remote code, no pickle.

    A checkpoint that lacks one of the model's weights is refused (transformers would initialise it at random).
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with quiet_loading():
            model, info = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                attn_implementation=attn_implementation,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are in info, and refused below with the weight's name
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip() or type(error).__name__
        raise BaseUnavailable(f"The base at {path} cannot be loaded: {reason}") from error
    _refuse_incomplete(path, info)
    return model.to(device).eval().requires_grad_(False)


def _refuse_incomplete(path: Path, info: dict[str, Any]) -> None:
    wrong = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if wrong:
        raise BaseUnavailable(
            f"The base at {path} does not match its config: {len(wrong)} weights are missing or of another "
            f"shape, the first {wrong[0]}. Fetch the checkpoint again."
        )
    if info["unexpected_keys"]:
        log.warning("the base has weights that its architecture does not use: %s", sorted(info["unexpected_keys"]))


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Transformers without its progress bars, which would break up the service's log lines."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
