"""Every rendered object against Kubernetes' and KubeRay's schemas, unknown fields refused."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import OVERLAYS, Manifest, pods, ray_service, render
from tests.deploy.tools import DEPLOY

KUBERNETES = ("1.30", "1.37")
"""The oldest and newest that are meant to work."""
RAY_SERVICE = json.loads((Path(__file__).parent / "schemas" / "rayservice-v1.json").read_text())


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_objects(overlay: str, version: str) -> None:
    manifests = [manifest for manifest in render(overlay) if manifest["kind"] != "RayService"]
    assert len(manifests) > 10
    for manifest in manifests:
        _check(manifest, version)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_pods(overlay: str, version: str) -> None:
    templates = pods(render(overlay))
    assert set(templates) == {"head", "gateway", "engine", "registry"}
    for pod in templates.values():
        metadata = {"name": pod.component, "labels": pod.labels}
        _check({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec}, version)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_job_of_the_first_key(version: str) -> None:
    _check(yaml.safe_load((DEPLOY / "k8s" / "first-key.yaml").read_text()), version)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_service(overlay: str) -> None:
    service = ray_service(render(overlay))
    jsonschema.Draft202012Validator(RAY_SERVICE).validate(service)
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["replica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.Draft202012Validator(RAY_SERVICE).validate(service)


def test_overlays_are_the_ones_documented() -> None:
    readme = (DEPLOY / "README.md").read_text()
    assert OVERLAYS == ("dev", "production")
    for overlay in OVERLAYS:
        assert f"overlays/{overlay}" in readme


def _check(manifest: Manifest, version: str) -> None:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        pytest.fail(f"{manifest['kind']} {manifest['metadata']['name']} at {where}: {error.message}")
