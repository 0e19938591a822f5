"""The engine on its thread: callers never wait for a step, and a dead thread is seen."""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from service.engine.loop import EngineLoop
from service.engine.trial import PAUSE_STEPS, Trials
from service.errors import ContextLengthExceeded, Overloaded, ReplicaFailed
from service.values import Event, FinishReason

from .simulated import adapter, request, simulated_engine


class Sink:
    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()

    def __call__(self, events: list[Event]) -> None:
        for event in events:
            self.events.put(event)

    def until_end(self) -> list[Event]:
        heard = [self.events.get(timeout=60)]
        while heard[-1].finish is None:
            heard.append(self.events.get(timeout=60))
        return heard


def test_requests_run_and_cancels_end_them() -> None:
    engine, _ = simulated_engine(blocks=64)
    sink = Sink()
    loop = EngineLoop(engine, sink)
    loop.start()
    loop.submit(request("a", [1], 3, ignore_eos=True), None)
    assert sum(len(e.tokens) for e in sink.until_end()) == 3
    loop.submit(request("b", [1], 60, ignore_eos=True), None)
    loop.cancel("b")
    assert sink.until_end()[-1].finish is FinishReason.CANCELLED
    loop.stop()
    assert loop.failed is None


def test_a_request_that_cannot_run_is_refused_in_the_callers_thread() -> None:
    loop = EngineLoop(simulated_engine()[0], Sink())
    loop.start()
    with pytest.raises(ContextLengthExceeded):
        loop.submit(request("a", [1] * 60, 60), None)
    loop.stop()


def test_what_comes_within_one_step_is_bounded_too() -> None:
    """The thread is not started: as if a step took for ever."""
    loop = EngineLoop(simulated_engine(waiting=40)[0], Sink())
    loop.submit(request("a", [1], n=16), None)
    with pytest.raises(Overloaded, match="too many sequences are waiting already"):
        loop.submit(request("b", [1], n=16), None)
    loop.submit(request("c", [1], n=12, tenant="another"), None)
    loop._turn()
    assert sum(loop._queued.values()) == 0
    assert loop.snapshot().waiting + loop.snapshot().running == 28


def test_a_delivery_that_fails_is_a_dead_loop_not_a_silent_one() -> None:
    def broken(events: list[Event]) -> None:
        raise RuntimeError("nobody listens")

    loop = EngineLoop(simulated_engine()[0], broken)
    loop.start()
    loop.submit(request("a", [1], 3), None)
    for _ in range(1000):
        if loop.failed is not None:
            break
        time.sleep(0.01)
    assert isinstance(loop.failed, RuntimeError)


def test_an_idle_loop_keeps_proving_that_it_lives() -> None:
    loop = EngineLoop(simulated_engine()[0], Sink())
    loop.start()
    first = loop._beat
    for _ in range(1000):
        if loop._beat != first:
            break
        time.sleep(0.01)
    assert loop._beat != first
    loop.stop()


def test_an_adapter_is_tried_on_the_engines_thread_while_it_idles() -> None:
    engine, runner = simulated_engine()
    trials = Trials()
    loop = EngineLoop(engine, Sink(), trials)
    loop.start()
    runner.not_finite = {"bad"}
    assert trials.run(adapter("good")) is None
    failure = trials.run(adapter("bad"))
    assert failure is not None
    assert failure.code == "non_finite_logits"
    loop.stop()
    with pytest.raises(ReplicaFailed):
        trials.run(adapter("good"))


def test_trials_take_turns_with_running_sequences() -> None:
    """The thread is not started; turns are taken by hand."""
    engine, runner = simulated_engine(blocks=64)
    trials = Trials()
    loop = EngineLoop(engine, Sink(), trials)
    loop.submit(request("r", [1], 20, ignore_eos=True), None)
    loop._turn()
    with ThreadPoolExecutor(3) as loads:
        waiting = [loads.submit(trials.run, adapter(digest)) for digest in "abc"]
        while trials.waiting < 3:
            time.sleep(0.001)
        for _ in range(3 * PAUSE_STEPS):
            loop._turn()
        assert [future.result() for future in waiting] == [None] * 3
    at = [number for number, plan in enumerate(runner.plans) if plan.chunks[0].sequence.id.request_id == "trial"]
    assert [later - earlier for earlier, later in pairwise(at)] == [PAUSE_STEPS + 1] * 2


def test_who_waits_for_a_trial_hears_of_a_dead_engine() -> None:
    def broken(events: list[Event]) -> None:
        raise RuntimeError("nobody listens")

    trials = Trials()
    loop = EngineLoop(simulated_engine()[0], broken, trials)
    loop.submit(request("a", [1], 3), None)
    trials._pause = 100
    with ThreadPoolExecutor(1) as loads:
        waiting = loads.submit(trials.run, adapter("a"))
        while not trials.waiting:
            time.sleep(0.001)
        loop.start()
        with pytest.raises(ReplicaFailed):
            waiting.result(60)
