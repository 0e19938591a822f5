"""The bundled base as it is converted: the right tokens, the right answers, once for all processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from service.base import describe_base, load_model, prepare_base
from service.base.bundled import find_bundled
from service.settings import BUNDLED_BASE, Settings

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.xdist_group("up"),
]  # the first of it: what it converts is used there

DIGEST = "sha256:cb183a0b6817c56194df9ee7fcee36d4b52f27bdf156eecbe0ed799e624626ce"
"""Adapters in registries name it: a change of it makes every one of them incompatible."""

PREPARE = """
import sys; from pathlib import Path; from service.commands.up import _prepare; from service.settings import Settings
print(_prepare(Settings(cache_dir=Path(sys.argv[1]))).path)
"""
"""As ``quickchange up`` does it: in a child of the child."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def path(cache: Path) -> Path:
    """Prepared by two processes at once, after a third died at its work and somebody deleted half of an older one."""
    for name in (f".{BUNDLED_BASE}-0.1.2-1.dead.tmp", f"{BUNDLED_BASE}-0.1.2-1"):
        (cache / "bases" / name).mkdir(parents=True)
        (cache / "bases" / name / "config.json").write_text("{}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, str(cache)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    (told,) = [errors for _, errors in outputs if errors]
    begun, *tenths, converted = told.splitlines()
    assert begun.startswith("Converting the bundled base")
    assert converted.startswith("Converted the bundled base")
    # Nothing but lines, at most one a second: no bar of somebody else's.
    percents = [int(line.removeprefix("converting: ").removesuffix(" %")) for line in tenths]
    assert percents == sorted(set(percents))
    assert len(percents) >= 2
    assert [each.name for each in (cache / "bases").iterdir() if each.suffix != ".lock"] == [
        f"{BUNDLED_BASE}-0.1.2-1"
    ]
    converted_path = Path(outputs[0][0].strip())
    _spare_the_others(converted_path)
    return converted_path


def _spare_the_others(converted: Path) -> None:
    """The services of later tests would convert the same once more into their cache, half a minute long."""
    theirs = Settings().cache_dir / "bases" / converted.name
    if not theirs.exists():
        theirs.parent.mkdir(parents=True, exist_ok=True)
        whole = theirs.with_name(f".{theirs.name}.tests.tmp")
        shutil.rmtree(whole, ignore_errors=True)
        shutil.copytree(converted, whole)
        whole.rename(theirs)


@pytest.fixture(scope="module")
def model(path: Path) -> PreTrainedModel:
    return load_model(path, "float32", "cpu", attn_implementation="sdpa")


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(path)


def test_prepared_once(cache: Path, path: Path) -> None:
    told: list[str] = []
    assert prepare_base(Settings(cache_dir=cache), told.append).path == path
    assert told == []


def test_the_tokenizer_is_smollm2s(tokenizer: PreTrainedTokenizerFast) -> None:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert [tokenizer(token)["input_ids"] for token in special] == [[0], [1], [2]]
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer)) == (2, 1, 49152)
    assert tokenizer("<repo_name>")["input_ids"] == [3]
    # Digits are split off first, so the spaces before them stay together.
    pieces = {
        "a  12": ["a", "  ", "1", "2"],
        "x\n\n\n1": ["x", "\n\n\n", "1"],
        "it's 2024!!": ["it", "'s", " ", "2", "0", "2", "4", "!!"],
        "Hello world": ["Hello", " world"],
    }
    for text, wanted in pieces.items():
        assert [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]] == wanted


@pytest.mark.parametrize(
    "text", ["Hello  world , it 's", "naïve café 😀\n\n\tdef f(x):  return 1", " ", "‮\u200b日本語"]
)
def test_text_comes_back_unchanged(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_weights_are_those_of_the_file(model: PreTrainedModel) -> None:
    """Of one tensor per way of packing, and one that GGUF stores with its rotary halves interleaved."""
    stored = {tensor.name: tensor for tensor in GGUFReader(find_bundled()[0]).tensors}
    weights = model.state_dict()
    pairs = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "blk.7.attn_norm.weight": "model.layers.7.input_layernorm.weight",
        "blk.7.attn_q.weight": "model.layers.7.self_attn.q_proj.weight",
    }
    for gguf_name, name in pairs.items():
        wanted = torch.from_numpy(dequantize(stored[gguf_name].data, stored[gguf_name].tensor_type).copy())
        if "attn_q" in gguf_name:
            wanted = wanted.view(9, 32, 2, 576).transpose(1, 2).reshape(576, 576)
        assert torch.equal(weights[name], wanted.bfloat16().float()), name


def test_it_answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, do_sample=False, max_new_tokens=24)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"


def test_what_the_registry_is_told(path: Path, model: PreTrainedModel) -> None:
    manifest = describe_base(path, BUNDLED_BASE, model)
    assert manifest.digest == DIGEST
    assert (manifest.layers, manifest.vocab_size, manifest.architecture) == (30, 49152, "LlamaForCausalLM")
    assert sum(module.type == "linear" for module in manifest.modules.values()) == 210
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert head.data_ptr() == embedding.data_ptr()
