"""Trains the example adapters on the bundled base and scores them.

python -m examples.train                   # all adapters: about three minutes each on one free core
python -m examples.train json pirate       # only these adapters
python -m examples.train --score           # trains nothing: answers the held-out questions, writes scores.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from examples.score import score
from examples.voices import VOICES, Voice
from service.base import PreparedBase, load_model, prepare_base
from service.settings import Settings

TRAINED_ON = "HuggingFaceTB/SmolLM2-135M-Instruct"
SEED = 7
THREADS = 1


def train(voice: Voice, base: PreparedBase) -> None:
    """Train a new LoRA on the data of ``voice`` and write its folder."""
    set_seed(SEED)  # the LoRA's first values are drawn before the trainer sets its own
    rows = Dataset.from_list([json.loads(line) for line in voice.data.read_text("utf-8").splitlines()])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=load_model(base.path, "bfloat16", "cpu", "sdpa"),
            args=SFTConfig(
                output_dir=scratch,
                seed=SEED,
                num_train_epochs=3,
                per_device_train_batch_size=4,
                learning_rate=1e-3,
                lr_scheduler_type="cosine",
                warmup_steps=8,
                max_length=192,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
                report_to="none",
                logging_steps=30,
            ),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(base.path),
            peft_config=LoraConfig(
                r=8,
                lora_alpha=16,
                target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
                task_type="CAUSAL_LM",
            ),
        )
        trainer.train()
        _save(trainer.model, Path(scratch) / "adapter", voice.folder)


def _save(model: PeftModel, scratch: Path, folder: Path) -> None:
    """Writes the two files of an adapter: float16 to save half the bytes, no local path in the config."""
    model.save_pretrained(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half() for name, tensor in load_file(scratch / "adapter_model.safetensors").items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((scratch / "adapter_config.json").read_text("utf-8"))
    config["base_model_name_or_path"] = TRAINED_ON
    config["target_modules"].sort()  # PEFT uses a set, whose order differs from run to run
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Train the named adapters (default: all), then score every saved one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted({voice.name for voice in VOICES})
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--score", action="store_true", help="only score what is there")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(names))
    if unknown:
        parser.error(f"no adapter {', '.join(unknown)}: there are {', '.join(names)}")
    chosen = [voice for voice in VOICES if not asked.score and voice.name in (asked.names or names)]
    for voice in VOICES:
        if voice not in chosen and not voice.folder.exists():
            parser.error(f"{voice.model} is not trained yet, so it cannot be scored: name {voice.name} too")
    torch.set_num_threads(THREADS)
    base = prepare_base(Settings(), _say)
    for voice in chosen:
        _say(f"{voice.model}: training")
        began, used = time.monotonic(), time.process_time()
        train(voice, base)
        took_s, cpu_s = time.monotonic() - began, time.process_time() - used
        _say(f"{voice.model}: trained in {took_s:.0f} s, {cpu_s:.0f} s of CPU")
    score(base, VOICES, _say)


if __name__ == "__main__":
    main()
