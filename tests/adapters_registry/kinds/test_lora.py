"""Each refusal by its code and the field, tensor or module it names; and what is honoured, on a hand-made base."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pytest

from adapters_registry.errors import RegistryError
from adapters_registry.kinds import CONFIG, WEIGHTS, ArtifactFile, build_manifest, check_files
from adapters_registry.manifest import File, LoraManifest
from adapters_registry.settings import Limits
from tests.adapters_registry.artifacts import (
    HEAD,
    NORM,
    Q0,
    Q1,
    Q_OUTPUTS,
    UP0,
    UP_OUTPUTS,
    base,
    bf16,
    config,
    key,
    lora,
    pack,
    pair,
    sha256,
    tensors,
)

BIAS = np.ones(Q_OUTPUTS, np.float32)


def build(settings: Any = None, arrays: dict[str, np.ndarray] | bytes | None = None) -> LoraManifest:
    """The manifest of ``config(**settings)`` (or of the raw bytes) with ``arrays``."""
    text = settings if isinstance(settings, bytes) else json.dumps(config(**(settings or {}))).encode()
    weights = arrays if isinstance(arrays, bytes) else pack(tensors() if arrays is None else arrays)
    files = [
        ArtifactFile(File(path=name, digest=sha256(data), size=len(data)), lambda data=data: io.BytesIO(data))
        for name, data in ((WEIGHTS, weights), (CONFIG, text))
    ]
    built = build_manifest(base(), files, Limits(rank=8))
    assert isinstance(built, LoraManifest)
    return built


def refusal(settings: Any = None, arrays: dict[str, np.ndarray] | bytes | None = None) -> tuple[str, str | None]:
    with pytest.raises(RegistryError) as caught:
        build(settings, arrays)
    return caught.value.code, caught.value.param


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in tensors().items() if key != name}


A0, B0 = key(Q0, "lora_A.weight"), key(Q0, "lora_B.weight")


def test_a_plain_adapter():
    manifest = build()
    assert [file.path for file in manifest.files] == [CONFIG, WEIGHTS]
    assert (manifest.kind, manifest.rank, manifest.dtype, manifest.base) == ("lora", 2, "float32", base().digest)
    assert manifest.modules == (lora(Q0), lora(Q1))


def test_the_digest_is_of_the_content():
    assert build().digest == build().digest
    assert build().digest != build({"lora_alpha": 5}).digest
    assert build().digest != build(None, tensors(0.25)).digest


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("peft_type", "IA3", "unsupported_field"),
        ("peft_type", "ADALORA", "unsupported_field"),
        ("peft_type", None, "unsupported_field"),
        ("modules_to_save", ["lm_head"], "unsupported_field"),
        ("use_dora", True, "unsupported_field"),
        ("trainable_token_indices", [1, 2], "unsupported_field"),
        ("alora_invocation_tokens", [5], "unsupported_field"),
        ("megatron_config", {"x": 1}, "unsupported_field"),
        ("layer_replication", [[0, 2]], "unsupported_field"),
        ("target_parameters", ["experts.gate"], "unsupported_field"),
        ("use_qalora", True, "unsupported_field"),
        ("use_bdlora", {"nblocks": 2}, "unsupported_field"),
        ("arrow_config", {"top_k": 2}, "unsupported_field"),
        ("kasa_config", {"beta": 1}, "unsupported_field"),
        ("monteclora_config", {"num_samples": 8}, "unsupported_field"),
        ("velora_config", {"num_groups": 8}, "unsupported_field"),
        ("a_field_of_tomorrow", 1, "unsupported_field"),
        ("init_lora_weights", "pissa", "unsupported_field"),
        ("init_lora_weights", "pissa_niter_16", "unsupported_field"),
        ("init_lora_weights", "OLoRA", "unsupported_field"),
        ("init_lora_weights", "corda", "unsupported_field"),
        ("init_lora_weights", "lora_ga", "unsupported_field"),
        ("init_lora_weights", "loftq", "unsupported_field"),
        ("task_type", "SEQ_CLS", "unsupported_field"),
        ("r", 0, "invalid_config"),
        ("r", "8", "invalid_config"),
        ("r", True, "invalid_config"),
        ("r", 9, "rank_too_large"),
        ("rank_pattern", {"q_proj": 9}, "rank_too_large"),
        ("rank_pattern", {"q_proj": -1}, "invalid_config"),
        ("rank_pattern", {"(": 2}, "invalid_config"),
        ("lora_alpha", None, "invalid_config"),
        ("lora_alpha", 10**400, "invalid_config"),
        ("use_rslora", "yes", "invalid_config"),
        ("bias", "some", "invalid_config"),
        ("target_modules", None, "invalid_config"),
        ("target_modules", "[", "invalid_config"),
        ("target_modules", [], "no_effect"),
        ("target_modules", "nothing", "no_effect"),
        ("exclude_modules", ["q_proj"], "no_effect"),
        ("layers_to_transform", [7], "no_effect"),
        ("layers_to_transform", 1.5, "invalid_config"),
        ("lora_alpha", 0, "no_effect"),
    ],
)
def test_config_fields_refused_by_name(field, value, code):
    named = {"no_effect": WEIGHTS if field == "lora_alpha" else "target_modules"}.get(code, field)
    assert refusal({field: value}) == (code, named)


@pytest.mark.parametrize("field", ["layers_to_transform", "layers_pattern"])
def test_layers_and_a_pattern_of_modules_exclude_each_other(field):
    assert refusal({"target_modules": ".*q_proj", field: [0]}) == ("invalid_config", field)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"[" * 100_000, b'{"r": NaN}', b"\xff", b'{"r": ' + b"1" * 5000 + b"}"]
)
def test_a_config_that_is_not_a_json_object(text):
    assert refusal(text) == ("invalid_config", CONFIG)


@pytest.mark.parametrize(
    ("targets", "code", "named"),
    [
        (["w1", "w2"], "unknown_module", "w1"),
        (["q_proj", "lm_head"], "unknown_module", "lm_head"),
        (["q_proj", "embed_tokens"], "unknown_module", "model.embed_tokens"),
        (".*(q_proj|lm_head)", "unknown_module", "lm_head"),
        (["q_proj", "up_proj"], "missing_tensor", key(UP0, "lora_A.weight")),
        ("all-linear", "missing_tensor", key(UP0, "lora_A.weight")),
        ([Q0], "unexpected_tensor", key(Q1, "lora_A.weight")),
        (["roj"], "unknown_module", "roj"),
    ],
)
def test_targets_and_tensors_must_agree(targets, code, named):
    assert refusal({"target_modules": targets}) == (code, named)


@pytest.mark.parametrize(
    ("arrays", "code", "named"),
    [
        (without(A0), "missing_tensor", A0),
        (without(B0), "missing_tensor", B0),
        (tensors() | pair(UP0, outputs=UP_OUTPUTS), "unexpected_tensor", key(UP0, "lora_A.weight")),
        (tensors() | pair("model.layers.2.self_attn.q_proj"), "unknown_module", "model.layers.2.self_attn.q_proj"),
        (tensors() | {A0: np.ones((2, 5), np.float32)}, "shape_mismatch", A0),
        (tensors() | {A0: np.ones((2, 4, 1), np.float32)}, "shape_mismatch", A0),
        (tensors() | {B0: np.ones((7, 2), np.float32)}, "shape_mismatch", B0),
        (tensors() | pair(Q0, rank=3), "shape_mismatch", A0),
        (tensors() | {key(Q0, "base_layer.bias"): BIAS}, "unexpected_tensor", key(Q0, "base_layer.bias")),
        (tensors() | {key(Q0, "lora_B.bias"): BIAS}, "unexpected_tensor", key(Q0, "lora_B.bias")),
        (
            tensors() | {key(Q0, "lora_magnitude_vector"): BIAS},
            "unexpected_tensor",
            key(Q0, "lora_magnitude_vector"),
        ),
        (tensors() | {"lm_head.weight": HEAD + 1}, "unexpected_tensor", "lm_head.weight"),
        (tensors() | {key("lm_head", "weight"): HEAD + 1}, "unexpected_tensor", key("lm_head", "weight")),
        (tensors() | {key("lm_head", "weight"): HEAD[:9]}, "shape_mismatch", key("lm_head", "weight")),
        (tensors(math.nan), "not_finite", A0),
        (tensors(math.inf), "not_finite", A0),
        (tensors(0), "no_effect", WEIGHTS),
        ({}, "missing_tensor", A0),
    ],
)
def test_tensors_refused_by_name(arrays, code, named):
    assert refusal(None, arrays) == (code, named)


def test_a_header_bomb():
    assert refusal(None, ((1 << 20) + 1).to_bytes(8, "little") + b" " * ((1 << 20) + 1)) == (
        "invalid_tensors",
        "header",
    )


def test_no_effect_when_in_each_module_a_or_b_is_zero():
    arrays = tensors()
    arrays[A0] = arrays[A0] * 0
    arrays[key(Q1, "lora_B.weight")] = arrays[key(Q1, "lora_B.weight")] * -0.0
    assert refusal(None, arrays) == ("no_effect", WEIGHTS)
    arrays[A0][1, 3] = 1e-30
    assert build(None, arrays).rank == 2


@pytest.mark.parametrize(
    ("settings", "ranks", "scales"),
    [
        ({"use_rslora": True}, [2, 2], [4 / math.sqrt(2)] * 2),
        ({"rank_pattern": {"0.self_attn.q_proj": 4}}, [4, 2], [1.0, 2.0]),
        ({"rank_pattern": {r".*\.1\..*q_proj": 1}, "use_rslora": True}, [2, 1], [4 / math.sqrt(2), 4.0]),
        ({"alpha_pattern": {"q_proj": 1.5}}, [2, 2], [0.75, 0.75]),
        ({"alpha_pattern": {Q1: 8, "q_proj": 2}}, [2, 2], [1.0, 4.0]),
        ({"lora_alpha": -4}, [2, 2], [-2.0, -2.0]),
    ],
)
def test_rank_and_scale(settings, ranks, scales):
    manifest = build(settings, pair(Q0, ranks[0]) | pair(Q1, ranks[1]))
    assert [(m.rank, m.scale) for m in manifest.modules] == list(zip(ranks, scales, strict=True))
    assert manifest.rank == max(ranks)


@pytest.mark.parametrize(
    "settings",
    [
        {"layers_to_transform": 1},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"exclude_modules": [Q0]},
        {"exclude_modules": r".*\.0\..*"},
        {"target_modules": r"model\.layers\.1\.self_attn\.q_proj"},
        {"target_modules": ["1.self_attn.q_proj"]},
    ],
)
def test_a_subset_of_the_modules(settings):
    assert [m.module for m in build(settings, pair(Q1)).modules] == [Q1]


def test_biases():
    every = {key(Q0, "base_layer.bias"): BIAS, key(NORM, "bias"): np.ones(4, np.float32)}
    manifest = build({"bias": "all"}, tensors() | every)
    assert [(m.module, m.rank, m.tensors.get("bias")) for m in manifest.modules] == [
        (Q0, 2, key(Q0, "base_layer.bias")),
        (Q1, 2, None),
        (NORM, 0, key(NORM, "bias")),
    ]
    assert refusal({"bias": "lora_only"}, tensors() | every) == ("unexpected_tensor", key(NORM, "bias"))
    wrong = {key(Q0, "base_layer.bias"): np.ones(5, np.float32)}
    assert refusal({"bias": "all"}, tensors() | wrong) == ("shape_mismatch", key(Q0, "base_layer.bias"))
    absent = {key(UP0, "bias"): np.ones(UP_OUTPUTS, np.float32)}
    assert refusal({"bias": "all"}, tensors() | absent) == ("unknown_module", key(UP0, "bias"))
    assert build({"bias": "all"}, tensors(0) | every).rank == 2, "a replaced bias is an effect"


def test_lora_bias():
    arrays = tensors(0) | {key(module, "lora_B.bias"): BIAS for module in (Q0, Q1)}
    assert build({"lora_bias": True}, arrays).modules[0].tensors["b_bias"] == key(Q0, "lora_B.bias")
    assert refusal({"lora_bias": True}) == ("missing_tensor", key(Q0, "lora_B.bias"))
    zero = {name: array * 0 for name, array in arrays.items()}
    assert refusal({"lora_bias": True}, zero) == ("no_effect", WEIGHTS)


def test_a_field_that_says_nothing_passes():
    quiet = {
        "modules_to_save": None,
        "use_dora": False,
        "loftq_config": {},
        "of_tomorrow": [],
        "layers_to_transform": [],
    }
    trained = {"lora_dropout": 0.1, "megatron_core": "megatron.core", "qalora_group_size": 16, "peft_version": "9.9"}
    initialised = {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}, "base_model_name_or_path": "/somewhere"}
    assert build(quiet | trained | initialised).rank == 2


@pytest.mark.parametrize(("convert", "dtype"), [(bf16, "bfloat16"), (np.float16, "float16"), (np.float32, "float32")])
def test_types(convert, dtype):
    arrays = {name: convert(array) for name, array in tensors().items()}
    assert build(None, arrays).dtype == dtype
    assert build(None, arrays | {A0: tensors()[A0]}).dtype == "float32", "mixed types are told as the widest"


@pytest.mark.parametrize(
    ("paths", "code", "named"),
    [
        (["adapter_model.bin"], "pickle_refused", "adapter_model.bin"),
        ([CONFIG, "adapter_model.bin"], "pickle_refused", "adapter_model.bin"),
        ([CONFIG, WEIGHTS, "adapter_model.bin"], "unknown_file", "adapter_model.bin"),
        ([CONFIG, WEIGHTS, "README.md"], "unknown_file", "README.md"),
        ([CONFIG], "unknown_file", WEIGHTS),
        ([WEIGHTS], "unknown_file", CONFIG),
        ([CONFIG, WEIGHTS, CONFIG], "invalid_value", "files"),
    ],
)
def test_files(paths, code, named):
    with pytest.raises(RegistryError) as caught:
        check_files([File(path=path, digest=sha256(b""), size=0) for path in paths], Limits())
    assert (caught.value.code, caught.value.param) == (code, named)


@pytest.mark.parametrize("path", [CONFIG, WEIGHTS])
def test_files_over_the_limit(path):
    sizes = {CONFIG: 1, WEIGHTS: 1} | {path: 1 << 40}
    with pytest.raises(RegistryError) as caught:
        check_files([File(path=p, digest=sha256(b""), size=size) for p, size in sizes.items()], Limits())
    assert (caught.value.code, caught.value.param) == ("body_too_large", path)
