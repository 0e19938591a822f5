"""What registry commands have in common: which adapter, and which registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from adapters_registry.client import RegistryClient
from adapters_registry.manifest import DIGEST_PATTERN, NAME_PATTERN

if TYPE_CHECKING:
    from service.settings import Settings

RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", metavar="URL", help="The registry's address; else QUICKCHANGE_REGISTRY_URL or _PORT."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of a table.")]

DEFAULT_TENANT = "default"
"""Whose a name without a tenant is."""

_NAME = re.compile(NAME_PATTERN.strip("^$"))
_DIGEST = re.compile(DIGEST_PATTERN.strip("^$"))


class Target(NamedTuple):
    """``[tenant/]name[@selector]``, taken apart."""

    tenant: str
    name: str
    selector: str | None

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}" + (f"@{self.selector}" if self.selector else "")

    @property
    def version(self) -> int | str | None:
        """The selector as a version number or digest; a usage error if it is neither."""
        if self.selector is None or _DIGEST.fullmatch(self.selector):
            return self.selector
        if not re.fullmatch(r"[1-9][0-9]{0,8}", self.selector):
            raise typer.BadParameter(f"{self.selector!r} is no version: give its number or its sha256: digest.")
        return int(self.selector)


def parse_target(text: str, *, selector: bool = True) -> Target:
    """The adapter that ``text`` names; the tenant defaults to ``default``."""
    path, at, chosen = text.partition("@")
    tenant, slash, name = path.rpartition("/")
    tenant = tenant if slash else DEFAULT_TENANT
    if not _NAME.fullmatch(tenant) or not _NAME.fullmatch(name) or (at and not (selector and chosen)):
        form = "[tenant/]name[@version]" if selector else "[tenant/]name"
        raise typer.BadParameter(
            f"{text!r}: use {form} with lower-case letters, digits, '.', '_' and '-', at most 63 each."
        )
    return Target(tenant, name, chosen if at else None)


def open_registry(url: str | None) -> RegistryClient:
    """A client of ``url``, or of the registry that the settings name."""
    if url is None:
        url = configured().registry
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} is no address: use http://host:port.", param_hint="--registry")
    return RegistryClient(url)


def configured() -> Settings:
    """The settings of this environment; a usage error if one is wrong."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "QUICKCHANGE_" + "__".join(str(part).upper() for part in first["loc"])
        raise typer.BadParameter(f"{name}: {first['msg']}.") from None
