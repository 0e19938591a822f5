"""The scrape configurations: Prometheus reads them, and they name Services and ports that exist."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.deploy.manifests import of_kind, pods, render
from tests.deploy.tools import DEPLOY, run, tool

CONFIGS = sorted(path.name for path in (DEPLOY / "monitoring").glob("prometheus*.yml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_prometheus_reads_it(name: str, tmp_path: Path) -> None:
    promtool = tool("promtool", "Debian package prometheus")
    for file in (name, "alerts.yml"):
        shutil.copy(DEPLOY / "monitoring" / file, tmp_path)
    (tmp_path / "quickchange.key").write_text("qc_a_key")
    run(promtool, "check", "config", str(tmp_path / name))


def test_in_a_cluster_it_shows_a_key() -> None:
    """There nobody is let in without one."""
    (job,) = _jobs("prometheus-kubernetes.yml")
    assert job["authorization"] == {"credentials_file": "quickchange.key"}


def test_one_machine() -> None:
    (job,) = _jobs("prometheus.yml")
    port = Settings.model_fields["port"].default
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]


def test_in_a_cluster_every_gateway_is_a_target() -> None:
    ((name,),) = [found["names"] for found in _jobs("prometheus-kubernetes.yml")[0]["dns_sd_configs"]]
    port, protocol, service, namespace, kind = name.split(".")
    (headless,) = [s for s in of_kind(render("production"), "Service") if s["spec"].get("clusterIP") == "None"]
    assert (headless["metadata"]["name"], headless["metadata"]["namespace"], kind) == (service, namespace, "svc")
    assert [(f"_{found['name']}", protocol) for found in headless["spec"]["ports"]] == [(port, "_tcp")]
    assert headless["spec"]["selector"].items() <= pods(render("production"))["gateway"].labels.items()


def _jobs(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((DEPLOY / "monitoring" / name).read_text())["scrape_configs"])
