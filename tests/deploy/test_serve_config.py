"""The Serve configurations: Serve's schema reads them, they name what exists, their environment is the code's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.process.cluster import APPLICATION, environment
from service.settings import Settings
from tests.deploy.manifests import ray_service, render
from tests.deploy.tools import DEPLOY

SECRET = "RAY_AUTH_TOKEN"
OF_THE_MACHINE = "OMP_NUM_THREADS"
FROM_KUBERAY = "RAY_AUTH_MODE"
DRAINING = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"
"""Longer in a cluster: endpoints forget a gateway after it has gone."""


@pytest.fixture(params=["serve.yaml", "RayService"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "serve.yaml":
        return dict(yaml.safe_load((DEPLOY / "serve.yaml").read_text()))
    return dict(yaml.safe_load(ray_service(render("production"))["spec"]["serveConfigV2"]))


def test_serve_reads_it(config: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    read = ServeDeploySchema.model_validate(config)
    (application,) = read.applications
    assert (application.name, application.route_prefix) == (APPLICATION, "/")
    assert application.import_path == "service.serve.app:application"
    assert read.proxy_location == "HeadOnly"
    assert read.http_options.port == 0
    # Serve's schema lets unknown keys pass without a word.
    assert set(config) <= set(ServeDeploySchema.model_fields)
    assert set(config["applications"][0]) <= set(type(application).model_fields)
    for deployment in config["applications"][0].get("deployments", []):
        assert set(deployment) <= set(type(application.deployments[0]).model_fields)


def test_it_names_the_applications_deployments(config: dict[str, Any]) -> None:
    from ray.serve.deployment import Application

    from service.serve.app import application

    graph = application(config["applications"][0].get("args", {}))
    ingress = graph._bound_deployment
    bound = [ingress, *(a._bound_deployment for a in ingress.init_args if isinstance(a, Application))]
    names = {deployment.name for deployment in bound}
    assert names == {"Gateway", "EngineReplica"}
    assert {deployment["name"] for deployment in config["applications"][0].get("deployments", [])} <= names


def test_one_machine_listens_on_loopback() -> None:
    config = yaml.safe_load((DEPLOY / "serve.yaml").read_text())
    assert config["http_options"]["host"] == Settings.model_fields["host"].default == "127.0.0.1"


def test_the_environment_of_one_machine() -> None:
    expected = {k: v for k, v in environment(Settings()).items() if k not in {SECRET, OF_THE_MACHINE}}
    assert _read(DEPLOY / "serve.env") == expected


def test_the_environment_in_a_cluster() -> None:
    left_out = {SECRET, OF_THE_MACHINE, FROM_KUBERAY}
    expected = {k: v for k, v in environment(Settings()).items() if k not in left_out}
    assert float(expected.pop(DRAINING)) == 0
    found = _read(DEPLOY / "k8s" / "base" / "ray.env")
    assert float(found.pop(DRAINING)) > 0
    assert found == expected


def _read(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
