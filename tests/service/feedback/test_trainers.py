"""Exports train: TRL's own trainers take the rows as they are, check them, and make a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import trl
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from service.feedback.rows import Format
from tests.service.api.world import tokenizer
from tests.service.feedback.examples import at, good
from tests.service.feedback.test_export import Case, prefer

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.filterwarnings("ignore"),  # of the trainers' own
]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    case = Case(tmp_path)
    case.say(good("r1"), good("r2", value=False), good("text"), prefer("a", at("r1"), at("r2")))
    case.say(prefer("b", at("text"), at("text", 1)))
    return case


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint directory: trainers load the reference themselves."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    path = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer()), pad_token_id=0, **sizes)).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return str(path)


def rewards(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(str(completion))) for completion in completions]


TRAINERS: dict[Format, tuple[Any, Any, dict[str, Any]]] = {
    Format.DPO: (trl.DPOTrainer, trl.DPOConfig, {}),
    Format.KTO: (trl.KTOTrainer, trl.KTOConfig, {}),
    Format.SFT: (trl.SFTTrainer, trl.SFTConfig, {"max_length": 64}),
    Format.PROMPT: (trl.RLOOTrainer, trl.RLOOConfig, {"num_generations": 2, "max_completion_length": 4}),
}


@pytest.mark.parametrize("format", list(Format))
def test_a_trainer_makes_a_step_with_each_file(case: Case, base: str, format: Format) -> None:
    trainer_type, config_type, options = TRAINERS[format]
    for file in case.export(format).files:
        rows = datasets.load_dataset(
            "json", data_files=str(case.root / "out" / file.name), split="train", cache_dir=str(case.root / "cache")
        )
        processor = AutoTokenizer.from_pretrained(base, pad_token="<|endoftext|>")
        config = config_type(
            output_dir=str(case.root / "trained"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=2,
            max_steps=1,
            report_to=[],
            save_strategy="no",
            **options,
        )
        more = {"reward_funcs": rewards} if format is Format.PROMPT else {}
        trainer = trainer_type(
            model=base,
            args=config,
            train_dataset=rows,
            processing_class=processor,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=2),
            **more,
        )
        assert trainer.train().global_step == 1
