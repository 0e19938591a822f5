"""The engine over a simulated model: every request ends once, with the tokens it gets alone."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.engine.adapter import FrontKeys, FrontRows
from service.engine.engine import Engine
from service.errors import ContextLengthExceeded, InvalidValue, Overloaded
from service.values import Event, FinishReason

from .simulated import adapter, expected, request, simulated_engine


class Heard:
    """Events gathered by choice."""

    def __init__(self) -> None:
        self.tokens: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.finish: dict[tuple[str, int], FinishReason] = {}
        self.cached: dict[tuple[str, int], int] = defaultdict(int)

    def take(self, events: list[Event]) -> None:
        for event in events:
            key = (event.request_id, event.choice)
            assert key not in self.finish, "an event after the end"
            self.tokens[key] += event.tokens
            self.cached[key] += event.cached_tokens
            if event.finish is not None:
                self.finish[key] = event.finish


def drain(engine: Engine, heard: Heard, most: int = 2000) -> None:
    for _ in range(most):
        if not engine.has_work():
            return
        heard.take(engine.step())
    raise AssertionError("the engine does not come to an end")


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.integers(0, 2),  # tenant
            st.integers(0, 4),  # adapter; 0 is the base, 3 and 4 bring rows in front
            st.integers(1, 20),  # prompt tokens, from a shared text so that prefixes meet
            st.integers(1, 12),  # max_tokens
            st.integers(1, 2),  # n
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("step"), st.integers(1, 4)),
    ),
    max_size=40,
)


FRONTS = {
    3: FrontRows(torch.zeros(5, 1)),
    4: FrontKeys((torch.zeros(6, 1, 1),), (torch.zeros(6, 1, 1),)),
}


@given(OPERATIONS, st.booleans(), st.integers(10, 14), st.integers(2, 20))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_traffic_gives_every_request_its_own_tokens_once(operations, caching, blocks, batch):
    engine, runner = simulated_engine(blocks=blocks, batch_tokens=batch, prefix_cache=caching)
    heard, wanted, cancelled = Heard(), {}, set()
    for number, operation in enumerate(operations):
        if operation[0] == "submit":
            _, tenant_at, adapter_at, prompt_tokens, max_tokens, n = operation
            name, tenant = f"r{number}", f"t{tenant_at}"
            digest = f"sha256:{adapter_at}" if adapter_at else ""
            prompt = [7 + at % 5 for at in range(prompt_tokens)]
            worn = adapter(digest, FRONTS.get(adapter_at)) if digest else None
            engine.submit(request(name, prompt, max_tokens, tenant=tenant, n=n), worn)
            for choice in range(n):
                wanted[name, choice] = expected(tenant, digest, prompt, max_tokens)
        elif operation[0] == "cancel":
            name = f"r{operation[1]}"
            engine.cancel(name)
            cancelled.add(name)
        else:
            for _ in range(operation[1]):
                heard.take(engine.step())
        assert all(plan.rows <= batch for plan in runner.plans)
    drain(engine, heard)
    assert set(heard.finish) == set(wanted)
    for (name, choice), (tokens, finish) in wanted.items():
        got = heard.tokens[name, choice]
        if heard.finish[name, choice] is FinishReason.CANCELLED:
            assert name in cancelled
            assert got == tokens[: len(got)]
        else:
            assert (got, heard.finish[name, choice]) == (tokens, finish)
    assert engine.snapshot().kv_blocks_used == 0


def test_rows_of_one_adapter_are_neighbours_and_the_base_comes_first():
    engine, runner = simulated_engine(blocks=64, batch_tokens=64)
    for number, digest in enumerate(["b", "", "a", "b", "", "a"]):
        engine.submit(request(f"r{number}", [1, 2, number + 3]), adapter(digest) if digest else None)
    engine.step()
    assert [c.sequence.digest for c in runner.plans[0].chunks] == ["", "", "a", "a", "b", "b"]


def test_long_prompts_run_in_chunks_beside_decoding_rows():
    engine, runner = simulated_engine(blocks=64, batch_tokens=8)
    engine.submit(request("short", [5], max_tokens=12, ignore_eos=True), None)
    engine.step()
    engine.submit(request("long", range(1, 21), max_tokens=1, ignore_eos=True), None)
    heard = Heard()
    drain(engine, heard)
    sizes = [[(c.sequence.id.request_id, c.length) for c in plan.chunks] for plan in runner.plans[1:4]]
    assert sizes == [[("short", 1), ("long", 7)], [("short", 1), ("long", 7)], [("short", 1), ("long", 6)]]


def test_prompts_take_smaller_chunks_while_others_decode():
    engine, runner = simulated_engine(blocks=64, batch_tokens=16, chunk_tokens=5)
    engine.submit(request("first", range(1, 21), max_tokens=4, ignore_eos=True), None)
    engine.submit(request("second", range(2, 12), max_tokens=1, ignore_eos=True), None)
    drain(engine, Heard())
    sizes = [[(c.sequence.id.request_id, c.length) for c in plan.chunks] for plan in runner.plans]
    assert sizes == [
        [("first", 16)],
        [("first", 4), ("second", 10)],
        [("first", 1)],
        [("first", 1)],
        [("first", 1)],
    ]
    engine, runner = simulated_engine(blocks=64, batch_tokens=16, chunk_tokens=5)
    engine.submit(request("first", [1], max_tokens=4, ignore_eos=True), None)
    engine.step()
    engine.submit(request("second", range(2, 10), max_tokens=1, ignore_eos=True), None)
    engine.submit(request("third", range(3, 6), max_tokens=1, ignore_eos=True), None)
    drain(engine, Heard())
    sizes = [[(c.sequence.id.request_id, c.length) for c in plan.chunks] for plan in runner.plans[1:]]
    assert sizes == [
        [("first", 1), ("second", 5)],
        [("first", 1), ("second", 3), ("third", 2)],
        [("first", 1), ("third", 1)],
    ]


def test_a_prefix_is_reused_within_one_tenant_and_adapter_only():
    engine, _ = simulated_engine(blocks=64, batch_tokens=64)
    prompt = list(range(1, 14))
    heard = Heard()
    for name, tenant, digest in [
        ("first", "acme", "a"),
        ("again", "acme", "a"),
        ("other adapter", "acme", "b"),
        ("base", "acme", ""),
        ("other tenant", "globex", "a"),
    ]:
        engine.submit(request(name, prompt, 1, tenant=tenant), adapter(digest) if digest else None)
        drain(engine, heard)
    assert {name: cached for (name, _), cached in heard.cached.items()} == {
        "first": 0,
        "again": 12,
        "other adapter": 0,
        "base": 0,
        "other tenant": 0,
    }


def test_a_tenant_with_one_request_does_not_wait_for_another_tenants_queue():
    engine, _ = simulated_engine(blocks=64, running=2)
    for number in range(10):
        engine.submit(request(f"many{number}", [3, number], 3, tenant="many", ignore_eos=True), None)
    engine.step()
    engine.submit(request("one", [4], 1, tenant="one", ignore_eos=True), None)
    heard = Heard()
    drain(engine, heard)
    order = list(heard.finish)
    assert order.index(("one", 0)) <= 2


def test_a_newcomer_need_not_wait_for_the_end_of_another_tenants_sequences():
    engine, _ = simulated_engine(blocks=400, running=10)
    for number in range(20):
        engine.submit(request(f"many{number}", [3, number], 60, tenant="many", ignore_eos=True), None)
    engine.step()
    engine.step()
    assert (engine.snapshot().running, engine.snapshot().waiting) == (8, 12)
    engine.submit(request("one", [4], 3, tenant="one", ignore_eos=True), None)
    heard = Heard()
    for _ in range(3):
        heard.take(engine.step())
    assert set(heard.finish) == {("one", 0)}


def test_where_blocks_run_out_those_of_the_tenant_that_holds_most_are_taken():
    engine, _ = simulated_engine(blocks=30, block_tokens=4, running=10, batch_tokens=64)
    for number in range(8):
        engine.submit(request(f"many{number}", [3, number], 60, tenant="many", ignore_eos=True), None)
    for _ in range(4):
        engine.step()
    engine.submit(request("one", [4], 40, tenant="one", ignore_eos=True), None)
    heard, steps = Heard(), 0
    while ("one", 0) not in heard.finish:
        heard.take(engine.step())
        steps += 1
    assert engine.snapshot().preemptions > 0
    assert steps <= 42, "it was never set back"


def test_too_much_waiting_is_refused_at_once():
    engine, _ = simulated_engine(waiting=2)
    engine.submit(request("a", [1]), None)
    with pytest.raises(Overloaded, match="too many sequences are waiting already, 1 of them this tenant's"):
        engine.submit(request("b", [1]), None)
    engine.submit(request("c", [1], tenant="another"), None)
    with pytest.raises(Overloaded, match="too many sequences are waiting already, 0 of them this tenant's"):
        engine.submit(request("d", [1], tenant="third"), None)


def test_what_waits_is_counted_in_sequences():
    engine, _ = simulated_engine(waiting=40)
    engine.submit(request("a", [1], n=16), None)
    with pytest.raises(Overloaded):
        engine.submit(request("b", [1], n=16), None)
    engine.submit(request("c", [1], n=4), None)
    assert engine.snapshot().waiting == 20


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (request("r", [1] * 60, 5), ContextLengthExceeded),  # over the context
        (request("r", [1] * 40, 9), ContextLengthExceeded),  # over all KV blocks: it could never finish
        (request("r", [], 1), InvalidValue),
        (request("r", [97], 1), InvalidValue),
        (request("r", [-1], 1), InvalidValue),
        (request("r", [1], 1, stop=(97,)), InvalidValue),
        (request("r", [1], 1, stop=(-1,)), InvalidValue),
        (request("r", [1], 3, min_tokens=4), InvalidValue),
        (request("r", [1], 3, min_tokens=1, stop=tuple(range(97))), InvalidValue),
    ],
)
def test_what_can_never_run_is_refused(wrong, error):
    engine, _ = simulated_engine(blocks=12, block_tokens=4)
    with pytest.raises(error):
        engine.submit(wrong, None)
    assert not engine.has_work()


@pytest.mark.parametrize("ignore_eos", [False, True])
def test_a_stop_token_ends_the_choice_and_is_named(ignore_eos):
    tokens, _ = expected("default", "", [9, 8], 6)
    assert len(tokens) == 6
    stop = tokens[3]
    engine, _ = simulated_engine(blocks=64)
    engine.submit(request("r", [9, 8], 6, ignore_eos=ignore_eos, stop=(stop,)), None)
    events = []
    while engine.has_work():
        events += engine.step()
    assert [token for event in events for token in event.tokens] == tokens[: tokens.index(stop)]
    assert (events[-1].finish, events[-1].stop_token) == (FinishReason.STOP, stop)


def test_an_end_of_sequence_token_is_not_named_as_a_stop_token():
    prompt = next([n] for n in range(1, 97) if expected("default", "", [n], 1) == ([], "stop"))
    for wants, stop_token in [({}, None), ({"stop": (0,)}, None), ({"stop": (0,), "ignore_eos": True}, 0)]:
        engine, _ = simulated_engine()
        engine.submit(request("r", prompt, 3, **wants), None)
        assert [(e.tokens, e.finish, e.stop_token) for e in engine.step()] == [((), FinishReason.STOP, stop_token)]


def test_a_step_that_fails_ends_its_sequences_and_no_others():
    engine, runner = simulated_engine(blocks=64, batch_tokens=2)
    engine.submit(request("hit", [1, 2], ignore_eos=True), None)
    engine.submit(request("spared", [3, 4], ignore_eos=True), None)
    runner.fail_next = True
    heard = Heard()
    drain(engine, heard)
    assert heard.finish == {("hit", 0): FinishReason.FAILED, ("spared", 0): FinishReason.LENGTH}
    assert engine.snapshot().kv_blocks_used == 0


def test_a_row_that_fails_ends_alone_and_with_its_reason():
    engine, runner = simulated_engine(blocks=64, batch_tokens=64)
    runner.not_finite = {"huge"}
    names = {"base": "", "bad": "huge", "good": "fine"}
    for name, digest in names.items():
        engine.submit(request(name, [1, 2, 3], 5), adapter(digest) if digest else None)
    events = [event for _ in range(20) for event in engine.step()]
    ends = {event.request_id: event for event in events if event.finish is not None}
    assert len(ends) == len([event for event in events if event.finish is not None]) == 3
    failure = ends["bad"].failure
    assert failure is not None
    assert (ends["bad"].finish, failure.code) == (FinishReason.FAILED, "non_finite_logits")
    for name in ("base", "good"):
        tokens, finish = expected("default", names[name], [1, 2, 3], 5)
        assert [t for e in events if e.request_id == name for t in e.tokens] == tokens
        assert ends[name].finish == finish
    assert (engine.snapshot().failed_rows, engine.snapshot().failed_steps) == (1, 0)
    assert engine.snapshot().kv_blocks_used == 0


def test_blocks_of_a_row_that_failed_are_never_found_again():
    engine, runner = simulated_engine(blocks=64, batch_tokens=5)
    runner.not_finite = {"huge"}
    heard = Heard()
    for name in ("first", "second"):
        # In chunks: whole blocks are published before the last row fails.
        engine.submit(request(name, range(1, 14), 1), adapter("huge"))
        drain(engine, heard)
    assert heard.finish == {("first", 0): FinishReason.FAILED, ("second", 0): FinishReason.FAILED}
    runner.not_finite = set()
    engine.submit(request("third", range(1, 14), 1, ignore_eos=True), adapter("huge"))
    drain(engine, heard)
    assert heard.cached["third", 0] == 0


@pytest.mark.parametrize("culprit", ["", "b", "e"])
def test_a_step_that_raises_ends_only_those_who_raise_alone(culprit):
    engine, runner = simulated_engine(blocks=64, batch_tokens=64)
    runner.broken = {culprit}
    digests = ["", "a", "b", "c", "d", "e"]
    for digest in digests:
        engine.submit(request(f"r{digest}", [1, 2], 4), adapter(digest) if digest else None)
    heard, failures = Heard(), []
    for _ in range(20):
        events = engine.step()
        heard.take(events)
        failures += [event.failure.code for event in events if event.failure]
    assert failures == ["adapter_failed" if culprit else "internal_error"]
    for digest in digests:
        if digest != culprit:
            tokens, finish = expected("default", digest, [1, 2], 4)
            assert (heard.tokens[f"r{digest}", 0], heard.finish[f"r{digest}", 0]) == (tokens, finish)
    assert heard.finish[f"r{culprit}", 0] is FinishReason.FAILED


def test_a_model_that_raises_for_everybody_ends_each_once_and_the_engine_goes_on():
    engine, runner = simulated_engine(blocks=64, batch_tokens=64)
    runner.broken = {"", "a", "b"}
    for number in range(7):
        digest = ("", "a", "b")[number % 3]
        engine.submit(request(f"r{number}", [1, 2], 4), adapter(digest) if digest else None)
    heard = Heard()
    drain(engine, heard)
    assert set(heard.finish.values()) == {FinishReason.FAILED}
    assert len(heard.finish) == 7
    runner.broken = set()
    engine.submit(request("after", [1, 2], 2, ignore_eos=True), None)
    drain(engine, heard)
    assert heard.finish["after", 0] is FinishReason.LENGTH


@pytest.mark.parametrize(("broken", "code"), [("broken", "adapter_failed"), ("not_finite", "non_finite_logits")])
def test_a_trial_says_why_an_adapter_cannot_share_a_batch(broken, code):
    engine, runner = simulated_engine(blocks=3)
    engine.submit(request("r", range(1, 9), 3, ignore_eos=True), None)
    engine.step()
    setattr(runner, broken, {"bad"})
    failure = engine.try_adapter(adapter("bad"))
    assert failure is not None
    assert failure.code == code
    assert engine.try_adapter(adapter("good")) is None
    alone = runner.plans[-1].chunks
    assert [chunk.sequence.digest for chunk in alone] == ["good"]
    assert alone[0].sequence.blocks == [3], "no block of anybody else"
    heard = Heard()
    drain(engine, heard)
    assert heard.finish == {("r", 0): FinishReason.LENGTH}


def test_cancelling_frees_blocks_before_the_next_step_and_tells_once():
    engine, _ = simulated_engine(blocks=64)
    engine.submit(request("r", range(1, 9), 8, n=2, ignore_eos=True), None)
    engine.step()
    assert engine.snapshot().kv_blocks_used > 0
    engine.cancel("r")
    engine.cancel("r")
    assert engine.snapshot().kv_blocks_used == 0
    assert [(e.choice, e.finish) for e in engine.step()] == [
        (0, FinishReason.CANCELLED),
        (1, FinishReason.CANCELLED),
    ]
    assert not engine.has_work()
