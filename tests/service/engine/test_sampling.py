"""Sampling: each parameter does what its name says, and a row's draw does not depend on its neighbours."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.adjusting import adjusted
from service.engine.sampling import sample, uniform
from service.engine.seen import Seen
from service.engine.sequence import Sequence, SequenceId
from service.values import Failure, SamplingParams

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def row(seed: int = 0, prompt: tuple[int, ...] = (5,), generated: tuple[int, ...] = (), **wants: object) -> Sequence:
    sampling = SamplingParams(max_tokens=10_000, **wants)
    sequence = Sequence(SequenceId("r", 0), "t", None, sampling, seed, list(prompt), prompt_tokens=len(prompt))
    for token in generated:
        sequence.append(token)
    return sequence


def frequencies(count: int = 4000, logits: torch.Tensor = LOGITS, **wants: object) -> dict[int, float]:
    rows = [row(seed, **wants) for seed in range(count)]
    drawn = Counter(s.token for s in sample(logits.expand(count, -1), rows))
    return {token: times / count for token, times in sorted(drawn.items())}


def close(observed: dict[int, float], probabilities: torch.Tensor) -> bool:
    """Within five standard deviations of 4,000 draws."""
    return all(
        abs(observed.get(token, 0.0) - p) <= 5 * math.sqrt(p * (1 - p) / 4000) + 1e-9
        for token, p in enumerate(probabilities.tolist())
    )


def test_temperature_zero_is_the_likeliest_token():
    assert [s.token for s in sample(torch.stack([LOGITS, LOGITS.flip(0)]), [row(temperature=0)] * 2)] == [
        0,
        5,
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_the_temperature(temperature):
    assert close(frequencies(temperature=temperature), torch.softmax(LOGITS / temperature, 0))


def test_top_k_keeps_the_k_likeliest():
    kept = torch.softmax(LOGITS[:2], 0)
    assert close(frequencies(top_k=2), torch.cat([kept, torch.zeros(4)]))


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    probs = torch.softmax(LOGITS, 0)  # .57 .21 .13 .08 ...
    assert set(frequencies(top_p=0.5)) == {0}
    assert set(frequencies(top_p=float(probs[0]) + 0.01)) == {0, 1}
    assert close(frequencies(top_p=1.0), probs)


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
    probs = torch.softmax(LOGITS, 0)
    kept = set((probs >= 0.2 * probs[0]).nonzero()[:, 0].tolist())
    assert set(frequencies(min_p=0.2)) == kept == {0, 1, 2}


def test_penalties_follow_their_formulas():
    plain = row(temperature=0, logprobs=None)
    assert sample(LOGITS[None], [plain])[0].token == 0
    # presence 1.5 once: 2 - 1.5 < 1; frequency .4 three times: 2 - 1.2 < 1; repetition 2.1: 2 / 2.1 < 1
    for wants, generated, prompt in [
        ({"presence_penalty": 1.5}, (0,), (5,)),
        ({"frequency_penalty": 0.4}, (0, 0, 0), (5,)),
        ({"repetition_penalty": 2.1}, (), (0,)),
    ]:
        assert sample(LOGITS[None], [row(0, prompt, generated, temperature=0, **wants)])[0].token == 1
    assert sample(LOGITS[None], [row(0, (0,), temperature=0, presence_penalty=1.5)])[0].token == 0
    negative = torch.tensor([-1.0, -1.5])
    assert sample(negative[None], [row(0, (0,), temperature=0, repetition_penalty=2.0)])[0].token == 1


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.lists(st.integers(0, 9), max_size=90),
    st.sampled_from([1.0, 1.3, 0.5]),
    st.sampled_from([0.0, 0.7, -2.0]),
    st.sampled_from([0.0, 0.25, -1.0]),
    st.lists(st.tuples(st.integers(0, 9), st.floats(-100, 100)), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_bias_and_penalties_are_those_of_a_walk_over_the_sequence(
    prompt, generated, factor, presence, frequency, bias
):
    logits = torch.randn(10, generator=torch.Generator().manual_seed(len(prompt)))
    wanted = logits.double()
    for token, value in bias:
        wanted[token] += value
    for token in range(10):
        count = generated.count(token)
        if token in generated or (factor != 1 and token in prompt):
            wanted[token] = wanted[token] / factor if wanted[token] > 0 else wanted[token] * factor
            wanted[token] -= presence * (count > 0) + frequency * count
    penalties = {"repetition_penalty": factor, "presence_penalty": presence, "frequency_penalty": frequency}
    changed = row(0, tuple(prompt), tuple(generated), logit_bias=tuple(bias), **penalties)
    plain = row()
    got = adjusted(torch.stack([logits, logits]), [plain, changed])
    assert torch.equal(got[0], logits)
    assert torch.allclose(got[1].double(), wanted, atol=1e-4, rtol=1e-5)


def test_a_sequence_that_grows_far_beyond_its_prompt_is_counted_whole():
    seen = Seen([3, 3, 5])
    for token in [*range(1000), 5, 999]:
        seen.add(token)
    counted = dict(zip(seen.tokens.tolist(), seen.generated.tolist(), strict=True))
    assert counted == dict.fromkeys(range(1000), 1) | {5: 2, 999: 2}


@pytest.mark.parametrize("temperature", [1e-5, 1e-6, 1e-38, 1e-45, 1e-50, 5e-324])
def test_a_tiny_temperature_is_greedy(temperature):
    for scale in (1.0, 1e4, 1e30):
        rows = [row(seed, temperature=temperature, top_p=0.9) for seed in range(4)]
        assert [s.token for s in sample(LOGITS.flip(0).expand(4, -1) * scale, rows)] == [5] * 4


EXTREME = st.sampled_from([5e-324, 1e-300, 1e-45, 1e-38, 1e-5, 1.0, 1e5, 1e38, 1e300])


@given(EXTREME, EXTREME, EXTREME, EXTREME, st.sampled_from([-1.0, 1.0]), st.floats(1, 1e35))
@settings(max_examples=300, deadline=None)
def test_no_parameter_makes_a_number_that_is_not_finite(temperature, factor, size, bias, sign, scale):
    """Token 0 is unlikely, not favoured, and everything else is its better: drawing it would mean NaN."""
    logits = torch.tensor([-9.0, 1.0, 3.0, 2.0]) * scale
    wants = {"temperature": temperature, "repetition_penalty": factor, "top_p": 0.9, "min_p": 0.1}
    wants |= {"presence_penalty": sign * size, "frequency_penalty": sign * size}
    one = row(7, (1, 2, 3), (1, 2, 3), logit_bias=((3, sign * bias), (2, 1.0)), **wants)
    assert bool(adjusted(logits[None], [one]).isfinite().all())
    plain = row(7, (1, 2, 3), temperature=min(temperature, 1.0), repetition_penalty=factor, top_p=0.9)
    if factor <= 1:
        assert sample(logits[None], [plain])[0].token != 0


def test_logit_bias_can_force_and_ban():
    rows = [row(temperature=0, logit_bias=((4, 100.0),)), row(temperature=0, logit_bias=((0, -100.0),))]
    assert [s.token for s in sample(LOGITS.expand(2, -1), rows)] == [4, 1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_end_and_stop_tokens_are_withheld_before_min_tokens(temperature):
    def answered(count: int, **wants: object) -> Sequence:
        wanted = row(0, generated=(3,) * count, temperature=temperature, min_tokens=2, top_k=1, **wants)
        wanted.withheld = (0, 1)
        return wanted

    rows = [
        answered(0),
        answered(1),
        answered(2),
        answered(1, ignore_eos=True),
        answered(1, logit_bias=((1, 100.0),)),
    ]
    assert [s.token for s in sample(LOGITS.expand(len(rows), -1), rows)] == [2, 2, 0, 2, 2]


def test_logprobs_are_the_models_own_whatever_the_sampling():
    wants = row(temperature=0, logprobs=2, logit_bias=((4, 100.0),))
    told = sample(LOGITS[None], [wants])[0].logprob
    own = torch.log_softmax(LOGITS, 0)
    assert told is not None
    assert told.logprob == pytest.approx(float(own[4]))
    assert told.top == ((0, pytest.approx(float(own[0]))), (1, pytest.approx(float(own[1]))))
    assert sample(LOGITS[None], [row(temperature=0)])[0].logprob is None


PARAMS = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.7, 1.3]),
        "top_p": st.sampled_from([1.0, 0.8]),
        "top_k": st.sampled_from([0, 3]),
        "min_p": st.sampled_from([0.0, 0.1]),
        "presence_penalty": st.sampled_from([0.0, 0.5]),
    }
)


@given(st.lists(st.tuples(PARAMS, st.integers(0, 2**62)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_row_draws_the_same_alone_and_in_any_company(wanted):
    logits = torch.randn(len(wanted), 50, generator=torch.Generator().manual_seed(1)) * 3
    rows = [row(seed, generated=(1, 2), **params) for params, seed in wanted]
    together = [s.token for s in sample(logits, rows)]
    alone = [sample(logits[i : i + 1], rows[i : i + 1])[0].token for i in range(len(rows))]
    assert together == alone


@pytest.mark.parametrize("broken", ["nan", "one nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_without_finite_logits_fails_alone(broken, dtype):
    logits = torch.randn(9, 50, generator=torch.Generator().manual_seed(2)).to(dtype)
    bad = (0, 4, 8)
    for number in bad:
        match broken:
            case "nan":
                logits[number] = torch.nan
            case "one nan":
                logits[number, 17] = torch.nan
            case "inf":
                logits[number, 17] = torch.inf
            case _:
                logits[number] = -torch.inf
    wants = [{"temperature": 0}, {"top_p": 0.9}, {"temperature": 0, "logprobs": 3, "logit_bias": ((1, 5.0),)}]
    rows = [row(number, generated=(1, 2), **wants[number % 3]) for number in range(9)]
    together = sample(logits, rows)
    for number in range(9):
        outcome = together[number]
        if number in bad:
            assert isinstance(outcome, Failure)
            assert outcome.code == "non_finite_logits"
        else:
            assert [outcome] == sample(logits[number : number + 1], [rows[number]])


def test_logits_that_rule_tokens_out_are_no_failure():
    logits = LOGITS.clone()
    logits[:2] = -torch.inf
    assert [s.token for s in sample(logits[None], [row(temperature=0)])] == [2]
    assert [s.token for s in sample(logits[None], [row(top_k=1)])] == [2]


def test_a_row_whose_sampling_raises_fails_alone(monkeypatch):
    def brittle(seed: int, position: int) -> float:
        if seed == 3:
            raise RuntimeError("no number for this seed")
        return 0.5

    monkeypatch.setattr("service.engine.sampling.uniform", brittle)
    outcomes = sample(LOGITS.expand(5, -1), [row(seed) for seed in range(5)])
    assert [outcome.code if isinstance(outcome, Failure) else outcome.token for outcome in outcomes] == [
        0, 0, 0, "internal_error", 0,
    ]  # fmt: skip


def test_more_logprobs_than_tokens_are_all_of_them():
    told = sample(LOGITS[None], [row(temperature=0, logprobs=20)])[0].logprob
    assert told is not None
    assert len(told.top) == len(LOGITS)


def test_a_seed_gives_the_same_draws_and_other_positions_give_others():
    assert uniform(1, 0) == uniform(1, 0)
    drawn = [uniform(seed, position) for seed in range(50) for position in range(50)]
    assert len(set(drawn)) == 2500
    assert 0.48 < sum(drawn) / 2500 < 0.52
    assert all(0 <= u < 1 for u in drawn)
