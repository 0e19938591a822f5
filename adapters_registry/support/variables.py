"""Refuses environment variables that have the settings' prefix but name no setting, such as misspelt ones."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError


class UnknownVariable(SettingsError):
    """A variable has the settings' prefix and names no setting; the message suggests the nearest name."""


class StrictSettings(BaseSettings):
    """Settings from arguments, then from variables; a variable that is misspelt raises ``UnknownVariable``."""

    elsewhere: ClassVar[tuple[str, ...]] = ()
    """Names (without the prefix) of variables that other programs read; see ``unknown``."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        refuse_unknown(settings_cls.model_config.get("env_prefix", ""), settings_cls.model_fields, cls.elsewhere)
        return init_settings, env_settings


def refuse_unknown(prefix: str, fields: Collection[str], elsewhere: Iterable[str]) -> None:
    """Raise ``UnknownVariable`` for the first variable of this process that ``unknown`` finds."""
    for name, nearest in unknown(os.environ, prefix, fields, elsewhere).items():
        meant = "" if nearest is None else f"; did you mean {nearest}?"
        raise UnknownVariable(f"{name} is no setting{meant}")


def unknown(
    variables: Iterable[str], prefix: str, fields: Collection[str], elsewhere: Iterable[str]
) -> Mapping[str, str | None]:
    """The ``variables`` with ``prefix`` that name none of ``fields``, each with the known name nearest to it.

    Of ``FIELD__PART`` only FIELD is checked here. ``elsewhere`` has the names, without the prefix, of variables that
    other programs read; a name that ends in ``_`` means all names that begin with it. Case is ignored.
    """
    known = [f"{prefix}{field}".upper() for field in fields]
    others = tuple(elsewhere)
    families = tuple(name for name in others if name.endswith("_"))
    found = {}
    for variable in sorted(variables):
        name = variable.upper()
        field = name.removeprefix(prefix).partition("__")[0].lower()
        if not name.startswith(prefix) or field in (*fields, *others) or field.startswith(families):
            continue
        whole, part, rest = name.partition("__")
        near = difflib.get_close_matches(whole, known, n=1, cutoff=0.8)
        found[variable] = f"{near[0]}{part}{rest}" if near else None
    return found
