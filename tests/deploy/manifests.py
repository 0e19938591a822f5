"""Rendered manifests, and the pods that are in them wherever they hide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY, run, tool

OVERLAYS = tuple(sorted(path.name for path in (DEPLOY / "k8s" / "overlays").iterdir()))

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    component: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def container(self) -> Manifest:
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def render(overlay: str) -> list[Manifest]:
    """Every object of the overlay; skips the test without kubectl."""
    return list(yaml.safe_load_all(_text(tool("kubectl", "comes with Kubernetes"), overlay)))


@cache
def _text(kubectl: str, overlay: str) -> str:
    return run(kubectl, "kustomize", str(DEPLOY / "k8s" / "overlays" / overlay))


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def ray_service(manifests: list[Manifest]) -> Manifest:
    (only,) = of_kind(manifests, "RayService")
    return only


def settings(manifests: list[Manifest]) -> dict[str, str]:
    (only,) = of_kind(manifests, "ConfigMap")
    return dict(only["data"])


def pods(manifests: list[Manifest]) -> dict[str, Pod]:
    """By component."""
    templates = [_pod(template) for manifest in manifests for template in _templates(manifest)]
    return {pod.component: pod for pod in templates}


def groups(manifests: list[Manifest]) -> dict[str, Manifest]:
    """KubeRay's worker groups by name."""
    cluster = ray_service(manifests)["spec"]["rayClusterConfig"]
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def _templates(manifest: Manifest) -> Iterator[Manifest]:
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]
    if manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        yield from (group["template"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]])


def _pod(template: Manifest) -> Pod:
    labels = template["metadata"]["labels"]
    return Pod(labels["app.kubernetes.io/component"], labels, template["spec"])
