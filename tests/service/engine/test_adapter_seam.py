"""What an adapter may do besides adding, by adapters of this test only: each equals a base that was changed so."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from adapters_registry.manifest import Manifest
from service.engine.adapter import Addition, Around, BoundAdapter, FrontKeys, FrontRows
from service.engine.engine import Engine
from service.engine.kernels.levels import Level
from service.errors import AdapterIncompatible, ContextLengthExceeded
from service.settings import EngineOptions
from service.values import GenerateRequest, SamplingParams
from tests.engines import Job, all_logits, bound_adapter, judged, run_jobs, trial
from tests.models import VOCABULARY, lora_configs, oracle, random_adapter, save, tiny_base
from tests.promises import SPREADS, prompt_of

from .computing import load, name_of, ways

ARCHITECTURES = ("llama", "qwen2", "gpt2", "gemma")
OPTIONS = EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8)
V_PROJ = {"gpt2": "transformer.h.1.attn.c_attn"}
DOWN = {"gpt2": "transformer.h.2.mlp.c_proj"}


@dataclass(frozen=True)
class OwnWeight:
    """A linear of the adapter's own, instead of the base's."""

    weight: Tensor
    bias: Tensor | None

    def replace(self, x: Tensor, y: Tensor) -> None:
        y.copy_(nn.functional.linear(x, self.weight, self.bias))


@dataclass(frozen=True)
class OwnColumns:
    """Some outputs of the head from weights of the adapter's own."""

    outputs: Tensor
    weight: Tensor

    def replace(self, x: Tensor, y: Tensor) -> None:
        y[:, self.outputs] = x @ self.weight.t()


@dataclass(frozen=True)
class OwnTokens:
    """Some tokens' embeddings are the adapter's own."""

    tokens: Tensor
    rows: Tensor

    def replace(self, x: Tensor, y: Tensor) -> None:
        for token, row in zip(self.tokens, self.rows, strict=True):
            y[x == token] = row


@dataclass(frozen=True)
class TokenDelta:
    """An addition to every token's embedding."""

    table: Tensor

    def add(self, x: Tensor, y: Tensor) -> None:
        y += self.table[x]


@dataclass(frozen=True)
class Case:
    """An adapter, and the base that was changed as it says."""

    changed: PreTrainedModel
    adds: dict[str, Addition]
    around: dict[str, Around]

    def bind(self, engine: Engine, digest: str) -> BoundAdapter:
        index = engine.backend.sites.index
        adds: list[Addition | None] = [None] * len(index)
        for name, addition in self.adds.items():
            adds[index[name]] = addition
        return BoundAdapter(digest, tuple(adds), 0, {index[name]: change for name, change in self.around.items()})


def weight_of(model: PreTrainedModel, name: str) -> Tensor:
    """[out, in], a view of the model's own."""
    module = model.get_submodule(name)
    weight: Tensor = module.weight
    return weight if isinstance(module, nn.Linear | nn.Embedding) else weight.t()


def noise(shape: tuple[int, ...] | torch.Size, seed: int, strength: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * strength


def scaled_input(base: PreTrainedModel, architecture: str) -> Case:
    name = DOWN.get(architecture, "model.layers.2.mlp.down_proj")
    changed = copy.deepcopy(base)
    scale = 1 + noise(weight_of(base, name).shape[1:], 1)
    weight_of(changed, name).mul_(scale)
    return Case(changed, {}, {name: Around(scale_in=scale)})


def scaled_output(base: PreTrainedModel, architecture: str) -> Case:
    name = V_PROJ.get(architecture, "model.layers.1.self_attn.v_proj")
    changed = copy.deepcopy(base)
    scale = 1 + noise(weight_of(base, name).shape[:1], 2)
    weight_of(changed, name).mul_(scale[:, None])
    bias = changed.get_submodule(name).bias
    if bias is not None:
        bias.mul_(scale)
    return Case(changed, {}, {name: Around(scale_out=scale)})


def own_projection(base: PreTrainedModel, architecture: str) -> Case:
    name = DOWN.get(architecture, "model.layers.2.mlp.down_proj")
    changed = copy.deepcopy(base)
    weight = noise(weight_of(base, name).shape, 3, 0.15)
    weight_of(changed, name).copy_(weight)
    return Case(changed, {}, {name: Around(replacement=OwnWeight(weight, base.get_submodule(name).bias))})


def own_head(base: PreTrainedModel, _: str) -> Case:
    changed = copy.deepcopy(base)
    weight = noise(base.lm_head.weight.shape, 4, 0.15)
    changed.lm_head.weight = nn.Parameter(weight, requires_grad=False)  # its own: the embedding stays
    return Case(changed, {}, {"lm_head": Around(replacement=OwnWeight(weight, None))})


def own_tokens(base: PreTrainedModel, _: str) -> Case:
    """Rows of the embedding, and of the head where it is tied, as ``trainable_token_indices`` trains them."""
    name = embedding_name(base)
    changed = copy.deepcopy(base)
    tokens = torch.tensor(prompt_of(0)[2:4] + prompt_of(1)[2:4])
    rows = noise((len(tokens), weight_of(base, name).shape[1]), 5)
    weight_of(changed, name)[tokens] = rows
    around = {name: Around(replacement=OwnTokens(tokens, rows * embedding_scale(base)))}
    if base.config.tie_word_embeddings:
        around["lm_head"] = Around(replacement=OwnColumns(tokens, rows))
    return Case(changed, {}, around)


def embedding_delta(base: PreTrainedModel, _: str) -> Case:
    changed = copy.deepcopy(base)
    name = embedding_name(base)
    table = noise(weight_of(base, name).shape, 6, 0.5)
    embedding = changed.get_input_embeddings()
    if base.config.tie_word_embeddings:
        changed.lm_head.weight = nn.Parameter(changed.lm_head.weight.clone(), requires_grad=False)
    embedding.weight = nn.Parameter(embedding.weight + table, requires_grad=False)
    return Case(changed, {name: TokenDelta(table * embedding_scale(base))}, {})


def embedding_scale(base: PreTrainedModel) -> float:
    """What Gemma multiplies its embedding's rows with; adapters change what comes out."""
    return float(getattr(base.get_input_embeddings(), "embed_scale", 1.0))


def embedding_name(base: PreTrainedModel) -> str:
    embedding = base.get_input_embeddings()
    return next(name for name, module in base.named_modules() if module is embedding)


CASES = (scaled_input, scaled_output, own_projection, own_head, own_tokens, embedding_delta)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_change_equals_a_base_that_was_changed_so_alone_and_mixed(architecture: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    engine = load(copy.deepcopy(base), OPTIONS, None)
    lora = random_adapter(base, lora_configs(architecture)[1], 7)
    oracles: list[PreTrainedModel] = [base, lora, base]
    adapters = [None, bound_adapter(engine, base, save(lora, tmp_path)), None]
    for number, make in enumerate(CASES):
        case = make(base, architecture)
        oracles.append(case.changed)
        adapters.append(case.bind(engine, f"sha256:{number}"))
    check(engine, base, oracles, adapters)


def check(
    engine: Engine, base: PreTrainedModel, oracles: list[PreTrainedModel], adapters: list[BoundAdapter | None]
) -> None:
    sequences = [trial(number, prompt_of(number % 2), adapter) for number, adapter in enumerate(adapters)]
    mixed = all_logits(engine, sequences)
    for sequence, model, together in zip(sequences, oracles, mixed, strict=True):
        wanted, spread = oracle(model, sequence.tokens)
        if sequence.adapter is not None:
            assert float((wanted - oracle(base, sequence.tokens)[0]).abs().max()) >= 0.5, "too weak to show"
        for mine in (together, all_logits(engine, [sequence])[0]):
            difference = float((mine - wanted).abs().max())
            assert difference <= SPREADS * max(spread, 2e-5), f"{sequence.id}: {difference} > {SPREADS} x {spread}"


# -- rows in front ------------------------------------------------------------------------------------------

LEAD = prompt_of(3)
"""The tokens whose rows the adapters below bring in front: 20, two blocks and a half."""


def embeddings_in_front(base: PreTrainedModel) -> FrontRows:
    return FrontRows(base.get_input_embeddings()(torch.tensor(LEAD)).detach())


@torch.no_grad()
def keys_in_front(base: PreTrainedModel) -> FrontKeys:
    cache = base(input_ids=torch.tensor([LEAD]), use_cache=True).past_key_values
    keys = tuple(layer.keys[0].transpose(0, 1).contiguous() for layer in cache.layers)
    values = tuple(layer.values[0].transpose(0, 1).contiguous() for layer in cache.layers)
    return FrontKeys(keys, values)


def fronted(base: PreTrainedModel, engine: Engine, front: FrontRows | FrontKeys, digest: str) -> BoundAdapter:
    return BoundAdapter(digest, (None,) * len(engine.backend.sites.index), 0, front=front)


FRONTS: list[Callable[[PreTrainedModel], FrontRows | FrontKeys]] = [embeddings_in_front, keys_in_front]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_in_front_count_as_if_their_tokens_stood_there(architecture: str) -> None:
    base = tiny_base(architecture)
    engine = load(copy.deepcopy(base), OPTIONS, None)
    sequences = [trial(0, prompt_of(2), None)]
    for number, front in enumerate(FRONTS, 1):
        sequences.append(trial(number, prompt_of(2), fronted(base, engine, front(base), f"sha256:{number}")))
    plain, *_ = oracle(base, prompt_of(2))
    wanted, spread = oracle(base, LEAD + prompt_of(2))
    wanted = wanted[len(LEAD) :]
    assert float((wanted - plain).abs().max()) >= 0.5
    for logits in (all_logits(engine, sequences)[1:], [all_logits(engine, [one])[0] for one in sequences[1:]]):
        for mine in logits:
            assert float((mine - wanted).abs().max()) <= SPREADS * spread


def jobs_of(adapters: list[BoundAdapter | None], lead: list[int], tenant: str = "t") -> list[Job]:
    """Requests under each adapter in turn; those of the base have ``lead`` in front of their prompts."""
    sampling = SamplingParams(max_tokens=12, temperature=0, ignore_eos=True)
    text = torch.randint(1, VOCABULARY, (64,), generator=torch.Generator().manual_seed(5)).tolist()
    jobs = []
    for number in range(12):
        adapter = adapters[number % len(adapters)]
        prompt = text[: 3 + 2 * number] if number % 2 else text[number : number + 20]
        whole = tuple(prompt if adapter is not None else lead + prompt)
        jobs.append((GenerateRequest(f"r{number}", tenant, whole, sampling, 60), adapter))
    return jobs


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("batch_tokens", [13, 512])
def test_tokens_under_rows_in_front_are_the_same_alone_together_cached_and_preempted(
    architecture: str, batch_tokens: int
) -> None:
    base = tiny_base(architecture)
    options = OPTIONS.model_copy(update={"batch_tokens": batch_tokens})
    engine = load(copy.deepcopy(base), options, None)
    uncached = load(copy.deepcopy(base), options.model_copy(update={"prefix_cache": False}), None)
    tight = options.kv_cache_bytes // engine.snapshot().kv_blocks_total * 12
    cramped = load(copy.deepcopy(base), options.model_copy(update={"kv_cache_bytes": tight}), None)
    adapters: list[BoundAdapter | None] = [
        fronted(base, engine, front(base), f"sha256:{number}") for number, front in enumerate(FRONTS)
    ]
    wanted = run_jobs(uncached, jobs_of([None], LEAD))
    for running in (uncached, engine, engine, cramped):
        assert run_jobs(running, jobs_of([*adapters, None], LEAD)) == wanted
        assert running.snapshot().kv_blocks_used == 0
    assert cramped.snapshot().preemptions > 0
    alone = {name: tokens for job in jobs_of(adapters, LEAD) for name, tokens in run_jobs(uncached, [job]).items()}
    assert alone == wanted


@pytest.mark.parametrize("front", FRONTS)
def test_whole_blocks_of_an_adapters_own_rows_are_held_once_for_all_tenants(
    front: Callable[[PreTrainedModel], FrontRows | FrontKeys],
) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS, None)
    adapter = fronted(base, engine, front(base), "sha256:a")
    sampling = SamplingParams(max_tokens=60, temperature=0, ignore_eos=True)
    prompt = tuple(prompt_of(0)[:5])
    engine.submit(GenerateRequest("first", "t", prompt, sampling, 60), adapter)
    engine.step()
    one = engine.snapshot().kv_blocks_used
    for number in range(4):
        engine.submit(GenerateRequest(f"r{number}", f"tenant{number}", prompt, sampling, 60), adapter)
    while engine.snapshot().running < 5:
        engine.step()
    whole = len(LEAD) // OPTIONS.block_tokens
    assert engine.snapshot().running == 5
    assert engine.snapshot().kv_blocks_used == whole + 5 * (one - whole)
    assert engine.snapshot().prefix_hit_tokens == 0, "rows that no token stands for are no cached prompt tokens"


def test_rows_in_front_take_of_the_context() -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS, None)
    adapter = fronted(base, engine, embeddings_in_front(base), "sha256:a")
    most = engine.context_tokens - len(LEAD)
    request = GenerateRequest("r", "t", (1,) * (most - 4), SamplingParams(max_tokens=5), 60)
    engine.check(request)
    with pytest.raises(ContextLengthExceeded, match=f"more than the {most} that fit"):
        engine.submit(request, adapter)


@pytest.mark.parametrize("front", FRONTS)
def test_a_trial_takes_rows_in_front_too(front: Callable[[PreTrainedModel], FrontRows | FrontKeys]) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS, None)
    good = front(base)
    assert engine.try_adapter(fronted(base, engine, good, "sha256:a")) is None
    bad = good.first(good.rows)
    for tensor in (bad.embeddings,) if isinstance(bad, FrontRows) else bad.values:
        tensor[1] = torch.inf
    failure = engine.try_adapter(fronted(base, engine, bad, "sha256:b"))
    assert failure is not None
    assert failure.code == "non_finite_logits"


# -- what a backend does not execute ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ways("llama"), ids=name_of)
def test_what_an_adapter_needs_and_a_backend_does_not_compute_is_refused_by_name(
    way: Level | None, tmp_path: Path
) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS, way)
    manifest: Manifest = judged(base, save(random_adapter(base, lora_configs("llama")[0], 0), tmp_path))
    engine.check_adapter(manifest)
    other = manifest.model_copy(update={"kind": "ia3"})
    with pytest.raises(AdapterIncompatible, match=r"needs ia3, which the backend of this engine \((torch|native)"):
        engine.check_adapter(other)


@pytest.mark.parametrize("way", ways("llama")[1:], ids=name_of)
def test_the_native_backend_takes_additions_only(way: Level, tmp_path: Path) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS, way)
    nothing = (None,) * len(engine.backend.sites.index)
    for adapter in (
        BoundAdapter("sha256:a", nothing, 0, {0: Around(scale_out=torch.ones(1))}),
        BoundAdapter("sha256:b", nothing, 0, front=embeddings_in_front(base)),
        BoundAdapter("sha256:c", (TokenDelta(torch.ones(1)), *nothing[1:]), 0),
    ):
        with pytest.raises(AdapterIncompatible, match="native backend does not compute"):
            engine.backend.place(adapter)
