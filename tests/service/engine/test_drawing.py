"""Drawing beside a plain full sort in whole numbers: ties, tails, any mixture of cuts, on both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.engine.drawing import UNIT, draw, draw_sorted, likeliest
from service.values import SamplingParams

LOGIT = st.one_of(st.sampled_from([-50.0, -1.0, 0.0, 0.001, 1.0, 1.001]), st.floats(-120, 20, width=32))
CUT = st.fixed_dictionaries(
    {
        "top_k": st.sampled_from([0, 1, 2, 5, 39, 40, 1000]),
        "top_p": st.sampled_from([1.0, 0.95, 0.8, 0.5, 0.3, 1e-9]) | st.floats(1e-6, 1),
        "min_p": st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    }
)
UNIFORM = st.integers(0, (1 << 53) - 1).map(lambda bits: bits / (1 << 53))


def plain(probs: torch.Tensor, wants: SamplingParams, uniform: float) -> int:
    """One row by the book: sort, cut, put back in order, cumulate."""
    mass = [int(p * UNIT) for p in probs.double().tolist()]
    order = sorted(range(len(mass)), key=lambda token: (-float(probs[token]), token))
    order = order[: wants.top_k or None]
    if wants.top_p < 1:
        enough, kept, before = max(1.0, wants.top_p * float(sum(mass[token] for token in order))), [], 0
        for token in order:
            if before >= enough:
                break
            kept.append(token)
            before += mass[token]
        order = kept
    floor = probs[order[0]] * torch.tensor(wants.min_p)
    kept = sorted(token for token in order if probs[token] >= floor)
    total = sum(mass[token] for token in kept)
    at, before = min(int(uniform * float(total)), total - 1), 0
    for token in kept:
        before += mass[token]
        if before > at:
            return token
    raise AssertionError("the draw is beyond the end")


@given(st.lists(st.tuples(st.lists(LOGIT, min_size=40, max_size=40), CUT, UNIFORM), min_size=1, max_size=6))
@example([([0.0] * 40, {"top_k": 0, "top_p": 0.5, "min_p": 0.0}, (1 << 53) / (1 << 53) - 2**-53)])
@example([([0.0] * 40, {"top_k": 39, "top_p": 0.8, "min_p": 1.0}, 0.0)])
@settings(max_examples=300, deadline=None)
def test_each_row_draws_what_a_full_sort_gives(rows):
    probs = torch.softmax(torch.tensor([logits for logits, _, _ in rows]), -1)
    wants = [SamplingParams(max_tokens=1, **cut) for _, cut, _ in rows]
    uniforms = [uniform for _, _, uniform in rows]
    expected = [plain(row, want, uniform) for row, want, uniform in zip(probs, wants, uniforms, strict=True)]
    assert draw(probs, wants, uniforms) == expected
    assert draw_sorted(probs, wants, uniforms) == expected


@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.01, 1.0, 10.0])
def test_both_ways_agree_over_a_whole_vocabulary(spread):
    logits = torch.randn(6, 49_152, generator=torch.Generator().manual_seed(3)) * spread
    probs = torch.softmax(logits, -1)
    cuts = [{"top_p": 0.9}, {"top_k": 50}, {"top_p": 0.999, "top_k": 20_000}, {"min_p": 0.05}, {}, {"top_p": 1e-3}]
    wants = [SamplingParams(max_tokens=1, **cut) for cut in cuts]
    for uniform in (0.0, 0.3, 0.77, 1 - 2**-53):
        assert draw(probs, wants, [uniform] * 6) == draw_sorted(probs, wants, [uniform] * 6)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.lists(st.integers(0, 59), max_size=20),
    st.integers(1, 70),
)
def test_the_likeliest_k_are_those_of_a_stable_sort(values, repeats, count):
    probs = np.array(values + [values[at % len(values)] for at in repeats], np.float32)
    count = min(count, len(probs))
    wanted = sorted(np.argsort(-probs, kind="stable")[:count].tolist())
    assert likeliest(probs, np.ones(len(probs)), count).tolist() == wanted
