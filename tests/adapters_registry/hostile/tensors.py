"""Artifacts whose tensors are wrong: values, shapes, names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adapters_registry.folder import WEIGHTS
from tests.adapters_registry import artifacts
from tests.adapters_registry.artifacts import NORM, Q0, Q1, UP0, UP_OUTPUTS, key, pair
from tests.adapters_registry.hostile.case import (
    A0,
    B0,
    WIDE,
    WIDE_OUTPUTS,
    Case,
    Files,
    Sparse,
    arrays,
    config_bytes,
    container,
    folder,
)

_BIAS = np.ones(artifacts.Q_OUTPUTS, np.float32)
_B = artifacts.tensors()[B0]
_HEAD = key("lm_head", "weight")
_LONG = "base_model.model." + "x" * 500_000


def _case(
    what: str, code: str, param: str, changes: dict[str, np.ndarray | None], convert: Any = None, **config: Any
) -> Case:
    def make() -> Files:
        tensors = arrays(changes)
        if convert is not None:
            tensors = {name: convert(array) for name, array in tensors.items()}
        return folder(config_bytes(**config), artifacts.pack(tensors))

    return Case(what, code, param, make)


def _value(what: str, value: float, convert: Any = None, place: int = -1) -> Case:
    """One number of B0 is ``value``."""
    matrix = np.full((artifacts.Q_OUTPUTS, 2), 0.5, np.float64 if convert is np.float64 else np.float32)
    matrix.ravel()[place] = value
    return _case(what, "not_finite", B0, {B0: matrix}, convert)


def _extra(what: str, code: str, name: str, param: str | None = None, **config: Any) -> Case:
    """One tensor more, of the size of a bias."""
    return _case(what, code, param or name, {name: _BIAS}, **config)


def _half(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16)


def _signalling(what: str) -> Case:
    matrix = np.full((artifacts.Q_OUTPUTS, 2), 0.5, np.float32)
    matrix.view(np.uint32).ravel()[3] = 0x7F800001
    return _case(what, "not_finite", B0, {B0: matrix})


def _wide() -> Files:
    """64 MiB of zeros, of which the registry's process must keep nothing."""
    size = 4 * 8 * WIDE_OUTPUTS
    header = {
        key(WIDE, "lora_A.weight"): {"dtype": "F32", "shape": [8, 1], "data_offsets": [0, 32]},
        key(WIDE, "lora_B.weight"): {"dtype": "F32", "shape": [WIDE_OUTPUTS, 8], "data_offsets": [32, 32 + size]},
    }
    data = Sparse(np.ones(8, "<f4").tobytes(), 32 + size)
    return folder(config_bytes(r=8, target_modules=["wide_proj"]), container(header, data))


def _two() -> Files:
    """A state dict of two adapters."""
    named = {name.replace(".weight", ".first.weight"): array for name, array in artifacts.tensors().items()}
    return folder(weights=artifacts.pack(named | {key(Q0, "lora_A.second.weight"): artifacts.tensors()[A0]}))


_VALUES = (
    _value("NaN in one value", math.nan),
    _value("infinity in one value", math.inf),
    _value("minus infinity in the first value", -math.inf, place=0),
    _value("NaN in one value of float16", math.nan, _half),
    _value("infinity in one value of bfloat16", math.inf, artifacts.bf16),
    _signalling("a signalling NaN"),
    _case(
        "a product outside the range of float32",
        "not_finite",
        Q0,
        {name: array * np.float32(6e38 / 2) for name, array in pair(Q0).items()},
    ),
    _case("all values zero", "no_effect", WEIGHTS, dict(artifacts.tensors(0.0))),
    _case("all values minus zero", "no_effect", WEIGHTS, dict(artifacts.tensors(-0.0))),
    _case(
        "B is zero in each module, as before training",
        "no_effect",
        WEIGHTS,
        {key(module, "lora_B.weight"): np.zeros((artifacts.Q_OUTPUTS, 2), np.float32) for module in (Q0, Q1)},
    ),
    _case("a delta that is zero in float32", "no_effect", WEIGHTS, dict(artifacts.tensors(1e-22))),
    Case("64 MiB of zeros", "no_effect", WEIGHTS, _wide),
)
_SHAPES = (
    _case("A transposed", "shape_mismatch", A0, {A0: np.ones((4, 2), np.float32)}),
    _case("A for a larger input", "shape_mismatch", A0, {A0: np.ones((2, 5), np.float32)}),
    _case("B for a larger output", "shape_mismatch", B0, {B0: np.ones((7, 2), np.float32)}),
    _case("A with three dimensions", "shape_mismatch", A0, {A0: np.ones((2, 4, 1), np.float32)}),
    _case("A as a vector", "shape_mismatch", A0, {A0: np.ones(8, np.float32)}),
    _case("A without dimensions", "shape_mismatch", A0, {A0: np.ones((), np.float32)}),
    _case("A without elements", "shape_mismatch", A0, {A0: np.ones((0, 4), np.float32)}),
    _case("mixed ranks without rank_pattern", "shape_mismatch", A0, dict(pair(Q0, rank=3))),
    _case("A and B of different ranks", "shape_mismatch", B0, {B0: np.ones((artifacts.Q_OUTPUTS, 3), np.float32)}),
    _case("a rank other than r", "shape_mismatch", A0, {}, r=4),
    _case("a rank other than rank_pattern", "shape_mismatch", A0, {}, rank_pattern={Q0: 4}),
)
_NAMES = (
    _case("no A", "missing_tensor", A0, {A0: None}),
    _case("no B", "missing_tensor", B0, {B0: None}),
    _case(
        "a module that the config does not adapt",
        "unexpected_tensor",
        key(UP0, "lora_A.weight"),
        dict(pair(UP0, outputs=UP_OUTPUTS)),
    ),
    _case(
        "a layer that the base lacks",
        "unknown_module",
        "model.layers.99.self_attn.q_proj",
        dict(pair("model.layers.99.self_attn.q_proj")),
    ),
    _case(
        "a Cyrillic letter in a module name",
        "unknown_module",
        "model.layers.0.self_attn.q_prоj",
        dict(pair("model.layers.0.self_attn.q_prоj")),
    ),
    _case(
        "an invisible character in a module name",
        "unknown_module",
        "model.layers.0.self_attn.q_proj\u200b",
        dict(pair("model.layers.0.self_attn.q_proj\u200b")),
    ),
    _case("a module name with `..`", "unknown_module", "../../../etc/passwd", dict(pair("../../../etc/passwd"))),
    _case("a NUL character in a module name", "unknown_module", f"{Q0}\0", dict(pair(f"{Q0}\0"))),
    Case("two adapters in one file", "unexpected_tensor", key(Q0, "lora_A.first.weight"), _two),
    _case("a matrix under two names", "unexpected_tensor", B0, {f"_orig_mod.{B0}": _B}),
    _case("a bare name of a module that the base lacks", "unknown_module", "w.q", {"w.q.lora_A.weight": _B}),
    _extra("the adapter's name within a tensor's name", "unexpected_tensor", key(Q0, "lora_A.default.weight")),
    _extra("a tensor without a name", "unexpected_tensor", ""),
    Case(
        "a name of 500,000 characters",
        "unexpected_tensor",
        _LONG[:99] + "…" + _LONG[-100:],
        lambda: folder(weights=artifacts.pack(arrays({_LONG: _BIAS}))),
    ),
    _extra("DoRA's magnitudes", "unexpected_tensor", key(Q0, "lora_magnitude_vector")),
    _extra("an embedding's LoRA", "unexpected_tensor", key("model.embed_tokens", "lora_embedding_A")),
    _case("a trained head", "unexpected_tensor", _HEAD, {_HEAD: artifacts.HEAD + 1}),
    _extra("a head of another vocabulary", "shape_mismatch", _HEAD),
    _value("a float64 value outside the range of float32", 1e39, np.float64),
    _extra("a module to save", "unexpected_tensor", key("lm_head", "modules_to_save.weight")),
    _extra("lora_B.bias without lora_bias", "unexpected_tensor", key(Q0, "lora_B.bias")),
    _extra("a bias with bias='none'", "unexpected_tensor", key(Q0, "base_layer.bias")),
    _extra("another module's bias with bias='lora_only'", "unexpected_tensor", key(NORM, "bias"), bias="lora_only"),
    _extra("a bias where the base has none", "unknown_module", key(UP0, "bias"), bias="all"),
    _extra("a bias of another size", "shape_mismatch", key(NORM, "bias"), bias="all"),
    _case(
        "a bias under two names",
        "unexpected_tensor",
        key(Q0, "bias"),
        {key(Q0, "base_layer.bias"): _BIAS, key(Q0, "bias"): _BIAS},
        bias="all",
    ),
)

TENSORS = (*_VALUES, *_SHAPES, *_NAMES)
