"""Random LoRA adapters in PEFT's layout, made from a checkpoint's shapes alone.

python -m loadtest.adapters /tmp/one --seed 1        # an adapter of the bundled base
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from service.base import prepare_base
from service.settings import Settings

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def projection_shapes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Module name → (in, out) of a Llama-like checkpoint's seven projections."""
    shapes = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 (not a dict)
                module = key.removesuffix(".weight")
                if module.rpartition(".")[2] in PROJECTIONS:
                    out_features, in_features = tensors.get_slice(key).get_shape()
                    shapes[module] = (in_features, out_features)
    return dict(sorted(shapes.items()))


def random_factors(
    shape: tuple[int, int], rank: int, draw: torch.Generator, strength: float = 0.01
) -> tuple[Tensor, Tensor]:
    """A [rank, in] and B [out, rank]. With the default strength, the base still writes sensible text."""
    in_features, out_features = shape
    a = torch.randn(rank, in_features, generator=draw) / in_features**0.5
    b = torch.randn(out_features, rank, generator=draw) * strength
    return a, b


def write_random_lora(checkpoint: Path, folder: Path, rank: int, seed: int, strength: float = 0.01) -> Path:
    """A PEFT folder with a random adapter on all seven projections, in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for module, shape in projection_shapes(checkpoint).items():
        a, b = random_factors(shape, rank, draw, strength)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": checkpoint.name,
        "r": rank,
        "lora_alpha": rank,
        "target_modules": list(PROJECTIONS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    return folder


def main() -> None:
    """Write one adapter for the base that the settings name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--strength", type=float, default=0.04)
    args = parser.parse_args()
    checkpoint = prepare_base(Settings(), lambda line: print(line, file=sys.stderr)).path
    print(write_random_lora(checkpoint, args.folder, args.rank, args.seed, args.strength))


if __name__ == "__main__":
    main()
