"""Acknowledged feedback outlives what runs the recorder: wherever that is, its data directory is on a volume."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.serve.app import ON_HEAD, build
from service.settings import Settings
from tests.deploy.manifests import Manifest, of_kind, pods, ray_service, render, settings
from tests.deploy.tools import DEPLOY, run, tool

DATA_DIR = re.findall(r"QUICKCHANGE_DATA_DIR=(\S+)", (DEPLOY / "Dockerfile").read_text())[-1]
GIB = 1 << 30


@pytest.fixture(params=["dev", "production"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    """Overlays with the component: dev has it, to production it is added."""
    if request.param == "dev":
        return render("dev")
    kubectl = tool("kubectl", "comes with Kubernetes")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(DEPLOY / "k8s" / "overlays" / "production", tmp_path)],
        "components": [os.path.relpath(DEPLOY / "k8s" / "feedback", tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return list(yaml.safe_load_all(run(kubectl, "kustomize", str(tmp_path))))


def claims(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """By component: the claims that its pod mounts, by path."""
    mounted = {}
    for component, pod in pods(manifests).items():
        by_name = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in pod.spec["volumes"]
            if "persistentVolumeClaim" in volume
        }
        mounts = pod.container["volumeMounts"]
        mounted[component] = {m["mountPath"]: by_name[m["name"]] for m in mounts if m["name"] in by_name}
    return mounted


def test_the_recorder_runs_where_its_volume_is(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings(manifests).items():
        monkeypatch.setenv(name, value)
    recorder = build(Settings())._bound_deployment.init_args[3]._bound_deployment
    assert recorder.ray_actor_options["resources"] == ON_HEAD
    (application,) = yaml.safe_load(ray_service(manifests)["spec"]["serveConfigV2"])["applications"]
    assert recorder.name not in {deployment["name"] for deployment in application["deployments"]}
    mounted = claims(manifests)
    assert mounted["head"] == {DATA_DIR: "quickchange-feedback"}
    assert mounted["gateway"] == mounted["engine"] == {}


def test_the_volume_has_room_and_is_no_other_ones(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {
        claim["metadata"]["name"]: claim["spec"]["resources"]["requests"]["storage"]
        for claim in of_kind(manifests, "PersistentVolumeClaim")
    }
    assert set(sizes) == {"quickchange-feedback", claims(manifests)["registry"][DATA_DIR]}
    assert int(sizes["quickchange-feedback"].removesuffix("Gi")) * GIB > 2 * Settings().feedback.response_bytes


def test_two_clusters_can_mount_it_while_one_replaces_the_other(manifests: list[Manifest]) -> None:
    head = pods(manifests)["head"]
    (rule,) = head.spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"].items() <= head.labels.items()


def test_without_the_component_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = render("production")
    for name, value in settings(manifests).items():
        monkeypatch.setenv(name, value)
    assert not Settings().feedback.enabled
    assert claims(manifests)["head"] == {}


def test_compose_keeps_it_on_a_named_volume() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounts = dict(mount.split(":") for mount in compose["services"]["service"]["volumes"])
    assert DATA_DIR in mounts.values()
    assert mounts.keys() <= compose["volumes"].keys()
    assert mounts["feedback"] == DATA_DIR
    assert "feedback:" not in str(compose["services"]["registry"]["volumes"])
    assert compose["services"]["service"]["environment"]["QUICKCHANGE_FEEDBACK__ENABLED"].endswith(":-false}")
