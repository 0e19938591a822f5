"""The compose file: the specification's schema, and nothing listens beyond the machine's loopback."""

from __future__ import annotations

import yaml

from adapters_registry.settings import RegistrySettings
from service.settings import Settings
from tests.deploy.tools import DEPLOY, run, tool

COMPOSE = DEPLOY / "compose.yaml"
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]


def test_schema() -> None:
    checker = tool("check-jsonschema", "of the extra `check`")
    run(checker, "--builtin-schema", "vendor.compose-spec", str(COMPOSE))


def test_everything_stays_on_the_machines_loopback() -> None:
    """Nothing is published, and no listener is moved from its default, which is loopback."""
    for service in SERVICES.values():
        assert service["network_mode"] == "host"
        assert "ports" not in service
        assert not [name for name in service.get("environment", {}) if name.endswith("_HOST")]
        assert "--host" not in service["command"]
    for settings in (RegistrySettings, Settings):
        assert settings.model_fields["host"].default == "127.0.0.1"


def test_confined_bounded_and_checked() -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert {"mem_limit", "pids_limit", "healthcheck", "stop_grace_period"} <= set(service)
        assert all(mount.split(":")[0] in volumes for mount in service["volumes"])


def test_the_service_knows_the_registry() -> None:
    own = SERVICES["service"]["environment"]
    port = RegistrySettings.model_fields["port"].default
    assert own["QUICKCHANGE_REGISTRY_URL"] == f"http://127.0.0.1:{port}"
    assert {name.removeprefix("QUICKCHANGE_").lower().split("__")[0] for name in own} <= set(Settings.model_fields)
    its = SERVICES["registry"]["environment"]
    assert {name.removeprefix("QUICKCHANGE_REGISTRY_").lower() for name in its} <= set(RegistrySettings.model_fields)
    assert its["QUICKCHANGE_REGISTRY_SERVICE_KEY"] == own["QUICKCHANGE_REGISTRY_KEY"]
    assert own["QUICKCHANGE_REGISTRY_KEY"].startswith("${QUICKCHANGE_SERVICE_KEY:?")  # none is written down


def test_build_context_holds_the_image_definition() -> None:
    build = SERVICES["service"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == (DEPLOY / "Dockerfile").resolve()
