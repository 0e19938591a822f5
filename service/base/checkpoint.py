"""Checks a checkpoint directory: config, safetensors weights, tokenizer; never a pickle."""

from __future__ import annotations

import json
from pathlib import Path

from service.errors import BaseUnavailable

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def check_checkpoint(path: Path) -> None:
    """Raises ``BaseUnavailable``, with the remedy, unless ``path`` has a complete checkpoint of safe files."""
    if not (path / "config.json").is_file():
        raise BaseUnavailable(
            f"{path} is not a model checkpoint: it has no config.json. "
            "Point --base at a directory that save_pretrained() wrote."
        )
    weight_files(path)
    if not any((path / name).is_file() for name in VOCABULARIES):
        raise BaseUnavailable(
            f"{path} has no tokenizer ({', '.join(VOCABULARIES)}). Save it there with tokenizer.save_pretrained()."
        )


def weight_files(path: Path) -> list[Path]:
    """The checkpoint's safetensors files, sorted; ``BaseUnavailable`` if there are none or one is missing."""
    index = path / INDEX
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    if not index.is_file():
        raise BaseUnavailable(_no_weights(path))
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BaseUnavailable(f"{index} cannot be read ({error}); fetch the checkpoint again.") from error
    for name in names:
        # The index is untrusted: its names must be files of this directory, not paths.
        if not isinstance(name, str) or Path(name).name != name:
            raise BaseUnavailable(f"{index} names {name!r}, which is not a file name.")
        if not (path / name).is_file():
            raise BaseUnavailable(f"{path} lacks {name}, which {INDEX} names; fetch the checkpoint again.")
    return [path / name for name in names]


def _no_weights(path: Path) -> str:
    pickles = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
    if not pickles:
        return f"{path} has no weights: neither {WEIGHTS} nor {INDEX}."
    return (
        f"{path} holds its weights only as a pickle ({pickles[0]}), which can run code when it is loaded. "
        "Convert it where you trust it: AutoModelForCausalLM.from_pretrained(path).save_pretrained(out) "
        "writes safetensors."
    )
