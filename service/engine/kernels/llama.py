"""Describes a transformers model for the native step, or refuses it; every weight of the model must be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from service.engine.kernels.errors import NativeUnavailable

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
STATIC_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose frequencies do not depend on the sequence, so that a table can be used."""
MOST_DIM = 512
SITES = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""The products of a layer in the order of ``Site`` in model.h; projections with the same input are fused."""


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Sizes of a Llama-like model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    dim: int
    """Size of one head."""
    inner: int
    """Inner size of the MLP."""
    vocabulary: int
    eps: float
    dtype: torch.dtype

    def site(self, site: int) -> tuple[int, tuple[int, ...]]:
        """Input size of a product, and the output sizes of its fused projections."""
        query, key = self.heads * self.dim, self.kv_heads * self.dim
        return (
            (self.hidden, (query, key, key)),
            (query, (self.hidden,)),
            (self.hidden, (self.inner, self.inner)),
            (self.inner, (self.hidden,)),
        )[site]


def projection(layer: int, name: str) -> str:
    """The module name of a projection in adapters."""
    return f"model.layers.{layer}.{name}"


def check_architecture(model: PreTrainedModel) -> None:
    """Raises ``NativeUnavailable`` unless the model is Llama-like; other configs may have other meanings."""
    if type(model).__name__ not in ARCHITECTURES:
        raise NativeUnavailable(f"{type(model).__name__} is not one of {', '.join(ARCHITECTURES)}")


def shape_of(model: PreTrainedModel, positions: int) -> LlamaShape:
    """The model's sizes. ``NativeUnavailable`` names the first feature that the step would not compute exactly.

    ``positions`` is the longest sequence that will be served. The architecture must have been checked.
    """
    config = model.config
    weight = model.get_input_embeddings().weight
    shape = LlamaShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        inner=config.intermediate_size,
        vocabulary=weight.shape[0],
        eps=float(config.rms_norm_eps),
        dtype=weight.dtype,
    )
    _refuse_config(config, shape, positions)
    _refuse_weights(dict(model.named_parameters()), shape, tied=model.get_output_embeddings().weight is weight)
    return shape


def rope_tables(model: PreTrainedModel, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, dim / 2] in float32, by transformers' own rotary embedding."""
    at = torch.arange(positions)[None]
    with torch.inference_mode():
        cosine, sine = model.model.rotary_emb(torch.zeros(1, dtype=torch.float32), at)
    half = cosine.shape[-1] // 2
    return cosine[0, :, :half].contiguous(), sine[0, :, :half].contiguous()


def _refuse_config(config: PretrainedConfig, shape: LlamaShape, positions: int) -> None:
    rope = getattr(config, "rope_parameters", None) or {}
    window = getattr(config, "sliding_window", None)
    parallel = getattr(config, "pretraining_tp", None) or 1
    reasons = {
        f"weights of {shape.dtype}": shape.dtype not in (torch.float32, torch.bfloat16),
        f"activation {config.hidden_act!r}": config.hidden_act != "silu",
        f"rotary embedding {rope.get('rope_type')!r}": rope.get("rope_type") not in STATIC_ROPE,
        "partly rotated heads": float(rope.get("partial_rotary_factor") or 1) != 1,
        f"a sliding window of {window} tokens": bool(window) and int(window or 0) < positions,
        f"pretraining_tp {parallel}": parallel != 1,
        f"heads of {shape.dim}": shape.dim % 16 != 0 or shape.dim > MOST_DIM,
        f"hidden size {shape.hidden}": shape.hidden % 16 != 0,
        f"intermediate size {shape.inner}": shape.inner % 16 != 0,
        f"{shape.heads} heads over {shape.kv_heads}": shape.heads % shape.kv_heads != 0,
    }
    for reason, refused in reasons.items():
        if refused:
            raise NativeUnavailable(f"the base has {reason}")


def _refuse_weights(parameters: Mapping[str, nn.Parameter], shape: LlamaShape, *, tied: bool) -> None:
    """Checks that the step uses every weight of the model, and that none is missing."""
    known = _expected(shape, tied=tied)
    optional = {f"{name.removesuffix('weight')}bias": (size[0],) for name, size in known.items() if len(size) == 2}
    optional = {name: size for name, size in optional.items() if "_proj" in name or name == "lm_head.bias"}
    for name, parameter in parameters.items():
        size = known.pop(name, None) or optional.get(name)
        if size is None:
            raise NativeUnavailable(f"the base has a weight {name} that the native step does not know")
        if tuple(parameter.shape) != size:
            raise NativeUnavailable(f"{name} is {tuple(parameter.shape)}, not {size}")
        if parameter.dtype != shape.dtype or parameter.device.type != "cpu":
            raise NativeUnavailable(f"{name} is {parameter.dtype} on {parameter.device}")
    if known:
        raise NativeUnavailable(f"the base has no weight {min(known)}")


def _expected(shape: LlamaShape, *, tied: bool) -> dict[str, tuple[int, ...]]:
    hidden = (shape.hidden,)
    expected: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (shape.vocabulary, shape.hidden),
        "model.norm.weight": hidden,
    }
    if not tied:
        expected["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        expected[projection(layer, "input_layernorm.weight")] = hidden
        expected[projection(layer, "post_attention_layernorm.weight")] = hidden
        for site, names in enumerate(SITES):
            size, outs = shape.site(site)
            for name, out in zip(names, outs, strict=True):
                expected[projection(layer, f"{name}.weight")] = (out, size)
    return expected
