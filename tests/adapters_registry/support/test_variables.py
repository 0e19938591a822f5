"""Misspelt variables at the top level: found, named with the nearest setting, and refused by both programs."""

from __future__ import annotations

import pytest
from pydantic_settings import BaseSettings

from adapters_registry.__main__ import main as registry
from adapters_registry.settings import RegistrySettings
from adapters_registry.support.variables import UnknownVariable, unknown
from service.cli import main as quickchange
from service.settings import Settings


def found(*variables: str) -> dict[str, str | None]:
    return dict(unknown(variables, "APP_", ("port", "engine"), ("key", "other_")))


def test_known_names_and_those_of_others_pass_in_any_case() -> None:
    assert found("APP_PORT", "app_port", "APP_ENGINE__X", "APP_KEY", "APP_OTHER_ANYTHING", "APPETITE", "PROT") == {}


def test_unknown_names_are_given_with_the_nearest() -> None:
    assert found("APP_PROT", "APP_ENGIN__X", "APP_KEYS", "APP_NONSENSE", "app_prot") == {
        "APP_PROT": "APP_PORT",
        "APP_ENGIN__X": "APP_ENGINE__X",
        "APP_KEYS": None,
        "APP_NONSENSE": None,
        "app_prot": "APP_PORT",
    }


@pytest.mark.parametrize(
    ("settings", "variable", "meant"),
    [
        (Settings, "QUICKCHANGE_REPLICA", "QUICKCHANGE_REPLICAS"),
        (Settings, "QUICKCHANGE_ENGIN__THREADS", "QUICKCHANGE_ENGINE__THREADS"),
        (RegistrySettings, "QUICKCHANGE_REGISTRY_LIMIT__RANK", "QUICKCHANGE_REGISTRY_LIMITS__RANK"),
    ],
)
def test_settings_refuse_them(
    settings: type[BaseSettings], variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "2")
    with pytest.raises(UnknownVariable, match=f"^{variable} is no setting; did you mean {meant}\\?$"):
        settings()


def test_the_service_leaves_the_registrys_to_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_LIMIT__RANK", "2")
    Settings()
    monkeypatch.delenv("QUICKCHANGE_REGISTRY_LIMIT__RANK")
    monkeypatch.setenv("QUICKCHANGE_PROT", "2")
    RegistrySettings()


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("QUICKCHANGE_REGISTRY_PROT", "1", "did you mean QUICKCHANGE_REGISTRY_PORT?"),
        ("QUICKCHANGE_REGISTRY_CORS_ORIGINS", "no JSON", '"cors_origins"'),
    ],
)
def test_the_registry_does_not_start_and_says_why(
    variable: str, text: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, text)
    assert registry([]) == 2
    assert told in capsys.readouterr().err


def test_the_command_line_does_not_go_on_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICKCHANGE_PROT", "1")
    assert quickchange(["list"]) == 2
    assert "QUICKCHANGE_PROT is no setting" in capsys.readouterr().err
