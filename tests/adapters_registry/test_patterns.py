from __future__ import annotations

import pytest

from adapters_registry.errors import InvalidConfig
from adapters_registry.patterns import Matcher, suffixes


def test_a_key_means_whole_last_parts():
    matcher = Matcher()
    module = "model.layers.1.self_attn.q_proj"
    assert matcher.first_key(["proj", "q_proj"], module, "f") == "q_proj"
    assert matcher.first_key([r".*\.1\..*q_proj", "q_proj"], module, "f") == r".*\.1\..*q_proj"
    assert matcher.first_key(["k_proj"], module, "f") == module
    assert list(suffixes("a.b.c")) == ["a.b.c", "b.c", "c"]


@pytest.mark.parametrize(
    ("patterns", "module", "layer"),
    [
        (None, "model.layers.3.mlp.experts.7.up", 3),
        ([], "transformer.h.11.attn.c_attn", 11),
        ("h", "transformer.h.2.attn.c_attn", 2),
        (["blocks", "h"], "transformer.h.2.attn.c_attn", 2),
        ("layers", "transformer.h.2.attn.c_attn", None),
        (None, "lm_head", None),
    ],
)
def test_layer_index(patterns, module, layer):
    assert Matcher().layer(patterns, module) == layer


@pytest.mark.parametrize("pattern", ["(", "*", "a" * 5000])
def test_a_malformed_pattern_names_its_field(pattern):
    with pytest.raises(InvalidConfig) as caught:
        Matcher().match(pattern, "x", "rank_pattern")
    assert caught.value.param == "rank_pattern"


def test_a_pattern_that_never_ends_is_cut_off():
    matcher = Matcher(budget_s=0.05)
    with pytest.raises(InvalidConfig, match="too long"):
        matcher.match(r"(a|aa|a?)+$", "a" * 60 + "b", "target_modules")
    with pytest.raises(InvalidConfig, match="too long"):
        matcher.match("a", "a", "target_modules")
