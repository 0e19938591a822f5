"""The application graph: what Serve is told of each deployment."""

from __future__ import annotations

import os
import pickle

import pytest
from ray import serve
from ray._common.constants import HEAD_NODE_RESOURCE_NAME

from service.serve import app
from service.serve.gateway import Gateway
from service.serve.recorder import Recorder
from service.settings import EngineOptions, FeedbackOptions, Settings


def bound(application: serve.Application) -> tuple[serve.Deployment, serve.Deployment]:
    """The gateway's and the engine's deployments."""
    gateway = application._bound_deployment
    return gateway, gateway.init_args[1]._bound_deployment


def test_one_gateway_over_the_replicas_asked_for() -> None:
    gateway, engine = bound(app.build(Settings(replicas=3)))
    assert (gateway.num_replicas, engine.num_replicas) == (1, 3)
    config = engine._deployment_config
    assert config.request_router_config.request_router_class == "service.dispatch.router.DigestRouter"
    assert gateway._deployment_config.request_router_config.is_default_request_router()
    assert gateway.func_or_class is Gateway


def test_one_recorder_only_where_feedback_is_on() -> None:
    off, on = (
        app.build(Settings(replicas=3, feedback=FeedbackOptions(enabled=enabled)))._bound_deployment.init_args[3]
        for enabled in (False, True)
    )
    assert off is None
    assert on._bound_deployment.func_or_class is Recorder
    assert on._bound_deployment.num_replicas == 1
    # Its data directory is that of one node, the same after every restart.
    assert 0 < on._bound_deployment.ray_actor_options["resources"][HEAD_NODE_RESOURCE_NAME] < 0.1


def test_no_replica_reserves_a_cpu_and_only_cuda_a_gpu() -> None:
    for device, gpus in (("cpu", 0), ("cuda", 1)):
        gateway, engine = bound(app.build(Settings(device=device)))
        assert gateway.ray_actor_options["num_cpus"] == engine.ray_actor_options["num_cpus"] == 0
        assert engine.ray_actor_options.get("num_gpus", 0) == gpus


def test_what_replicas_are_given_travels() -> None:
    _, engine = bound(app.build(Settings(port=8123)))
    settings, open_parts = pickle.loads(pickle.dumps(engine.init_args))
    assert settings.port == 8123
    assert callable(open_parts)


def test_settings_come_from_the_environment_when_serve_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKCHANGE_REPLICAS", "2")
    assert bound(app.application({}))[1].num_replicas == 2


def test_replicas_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert app._threads(Settings()) == cores
    assert app._threads(Settings(replicas=10 * cores)) == 1
    assert app._threads(Settings(engine=EngineOptions(threads=3))) == 3
