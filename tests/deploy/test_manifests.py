"""What the schemas cannot say: numbers that belong together agree, and every pod is confined, bounded and probed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from adapters_registry.__main__ import CREATE_KEY
from adapters_registry.access import new_key
from adapters_registry.settings import RegistrySettings
from service.settings import Settings
from tests.deploy.manifests import OVERLAYS, Manifest, groups, of_kind, pods, ray_service, render, settings
from tests.deploy.tools import DEPLOY, ROOT

UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
PARTS = "app.kubernetes.io/component"


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(request.param)


def test_the_settings_are_settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: value for name, value in settings(manifests).items() if name.startswith("QUICKCHANGE_")}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
        top = name.removeprefix("QUICKCHANGE_").lower().split("__")[0]
        assert top in Settings.model_fields, name
    read = Settings()
    assert read.replicas == int(own["QUICKCHANGE_REPLICAS"])
    assert read.engine.threads == int(own["QUICKCHANGE_ENGINE__THREADS"])
    assert read.registry == f"http://{_registry(manifests)['metadata']['name']}"
    assert read.keys.gateways == groups(manifests)["gateway"]["replicas"]
    # Whom a gateway lets in depends on who can reach it: it does not start where the two differ.
    assert read.host == yaml.safe_load(ray_service(manifests)["spec"]["serveConfigV2"])["http_options"]["host"]


def test_one_engine_an_engine_pod_and_one_cpu_a_thread(manifests: list[Manifest]) -> None:
    group, own = groups(manifests)["engine"], settings(manifests)
    replicas = int(own["QUICKCHANGE_REPLICAS"])
    assert [group[name] for name in ("replicas", "minReplicas", "maxReplicas")] == [replicas] * 3
    resources = pods(manifests)["engine"].container["resources"]
    threads = int(own["QUICKCHANGE_ENGINE__THREADS"])
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"] == threads


def test_one_gateway_a_gateway_pod(manifests: list[Manifest]) -> None:
    group = groups(manifests)["gateway"]
    (application,) = yaml.safe_load(ray_service(manifests)["spec"]["serveConfigV2"])["applications"]
    asked = {deployment["name"]: deployment for deployment in application["deployments"]}
    counts = [group[name] for name in ("replicas", "minReplicas", "maxReplicas")]
    assert [asked["Gateway"]["num_replicas"]] * 3 == counts
    for name, deployment in (("gateway", asked["Gateway"]), ("engine", asked["EngineReplica"])):
        assert yaml.safe_load(yaml.safe_load(groups(manifests)[name]["rayStartParams"]["resources"])) == {name: 1}
        assert deployment["ray_actor_options"]["resources"] == {name: 1}


def test_ports(manifests: list[Manifest]) -> None:
    templates, own = pods(manifests), settings(manifests)
    gateway = int(own["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
    assert int(own["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"]) == gateway + 1
    assert templates["gateway"].ports == {"serve": gateway, "agent": 52365}
    assert templates["head"].ports == {
        "gcs-server": 6379, "dashboard": 8265, "client": 10001, "serve": gateway, "agent": 52365,
    }  # fmt: skip
    assert templates["registry"].ports == {"http": RegistrySettings.model_fields["port"].default}


def test_services_meet_pods_that_have_the_port(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"  # no TLS: nothing leads in from outside
        chosen = pods(manifests)[service["spec"]["selector"][PARTS]]
        assert service["spec"]["selector"].items() <= chosen.labels.items()
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in chosen.ports
    assert not of_kind(manifests, "Ingress")


def test_ray_is_the_version_that_is_installed(manifests: list[Manifest]) -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert ray_service(manifests)["spec"]["rayClusterConfig"]["rayVersion"] == pinned[1]
    assert ray_service(manifests)["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_every_pod_reads_the_generated_settings(manifests: list[Manifest]) -> None:
    (config,) = of_kind(manifests, "ConfigMap")
    for component in ("head", "gateway", "engine"):
        (source,) = pods(manifests)[component].container["envFrom"]
        assert source["configMapRef"]["name"] == config["metadata"]["name"]
    assert re.fullmatch(r"quickchange-\w{10}", config["metadata"]["name"])  # a changed setting is a new cluster


def test_no_secret_is_written_down(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    assert not [name for name in settings(manifests) if re.search("TOKEN|SECRET|PASSWORD|KEY$", name)]
    own = [entry for pod in pods(manifests).values() for entry in pod.container.get("env", [])]
    assert all("valueFrom" in entry for entry in own if re.search("TOKEN|SECRET|PASSWORD|KEY$", entry["name"]))


def test_all_show_the_registry_the_one_key_that_it_takes(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {
        component: entry
        for component, pod in pods(manifests).items()
        for entry in pod.container["env"]
        if entry["name"].endswith("_KEY")
    }
    assert set(shown) == {"head", "gateway", "engine", "registry"}
    secrets = {entry["valueFrom"]["secretKeyRef"]["name"] for entry in shown.values()}
    assert secrets == {"quickchange-service-key"}
    assert f"secret generic {secrets.pop()}" in (DEPLOY / "README.md").read_text()
    text = str(new_key())
    for entry in shown.values():
        monkeypatch.setenv(entry["name"], text)
    assert Settings().registry_bearer == text
    registry = RegistrySettings(_cli_parse_args=[]).service_key
    assert registry is not None
    assert registry.get_secret_value() == text


def test_the_first_key_is_made_where_the_registry_keeps_its_own(manifests: list[Manifest]) -> None:
    job = yaml.safe_load((DEPLOY / "k8s" / "first-key.yaml").read_text())
    pod, registry = job["spec"]["template"]["spec"], pods(manifests)["registry"]
    (container,) = pod["containers"]
    assert container["command"][:-1] == registry.container["command"]
    assert container["command"][-1] == CREATE_KEY
    volumes = [{v["name"]: v for v in spec["volumes"]}["data"] for spec in (pod, registry.spec)]
    mounts = [{m["name"]: m for m in c["volumeMounts"]}["data"] for c in (container, registry.container)]
    assert volumes[0] == volumes[1]
    assert mounts[0] == mounts[1]
    assert pod["securityContext"] == registry.spec["securityContext"]
    assert container["securityContext"] == registry.container["securityContext"]


def test_pods_are_confined(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        assert pod.spec["automountServiceAccountToken"] is False
        # A Service named quickchange gives QUICKCHANGE_PORT=tcp://…, which no setting can read.
        assert pod.spec["enableServiceLinks"] is False
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        confined = pod.container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["capabilities"] == {"drop": ["ALL"]}
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {manifest["metadata"].get("namespace", namespace["metadata"]["name"]) for manifest in manifests} == {
        namespace["metadata"]["name"]
    }


def test_pods_are_bounded_and_what_they_mount_exists(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        limits = pod.container["resources"]["limits"]
        assert {"memory", "ephemeral-storage"} <= set(limits)
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert {mount["name"] for mount in pod.container["volumeMounts"]} == set(volumes)
        scratch = sum(_bytes(v["emptyDir"]["sizeLimit"]) for v in volumes.values() if "emptyDir" in v)
        assert scratch <= _bytes(limits["ephemeral-storage"]), pod.component


def test_the_engine_has_room_for_what_its_options_allow(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings(manifests).items():
        monkeypatch.setenv(name, value)
    read, pod = Settings(), pods(manifests)["engine"]
    memory = _bytes(pod.container["resources"]["limits"]["memory"])
    rest = 3 << 30  # Ray's own processes, libraries, base and its packed copy, work on one batch
    assert memory >= read.engine.kv_cache_bytes + read.adapters.host_bytes + rest
    (cache,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "cache"]
    assert _bytes(cache["emptyDir"]["sizeLimit"]) > read.adapters.disk_bytes


def test_ready_and_live_are_different_questions(manifests: list[Manifest]) -> None:
    for component, pod in pods(manifests).items():
        live, ready = pod.container["livenessProbe"], pod.container["readinessProbe"]
        for probe in (live, ready):
            action = probe.get("httpGet") or probe["tcpSocket"]
            assert action["port"] in pod.ports, component
    gateway = pods(manifests)["gateway"].container
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "serve"}
    assert gateway["livenessProbe"]["httpGet"]["port"] == "agent"  # not the gateway: Serve restarts that itself


def test_a_pod_that_ends_has_time_to(manifests: list[Manifest]) -> None:
    waits = {}
    for component in ("gateway", "engine"):
        pod = pods(manifests)[component]
        waits[component] = int(pod.container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert waits[component] < pod.spec["terminationGracePeriodSeconds"]
    assert waits["gateway"] < waits["engine"]  # what the gateway still streams comes from there


def test_limits_say_why() -> None:
    """Each line of a limit carries its reason."""
    for path in (DEPLOY / "k8s" / "base").glob("*.yaml"):
        for bare in _limits_without_comment(path):
            pytest.fail(f"{path.name}: {bare}")


def _limits_without_comment(path: Path) -> list[str]:
    bare, depth = [], None
    for line in path.read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() == "limits:":
            depth = indent
        elif depth is not None and indent > depth:
            if "#" not in line:
                bare.append(line.strip())
        else:
            depth = None
    return bare


def _registry(manifests: list[Manifest]) -> Manifest:
    (only,) = [s for s in of_kind(manifests, "Service") if s["spec"]["selector"][PARTS] == "registry"]
    assert [port["port"] for port in only["spec"]["ports"]] == [80]  # which http:// needs not say
    return only


def _bytes(quantity: str) -> int:
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * UNITS[unit]
