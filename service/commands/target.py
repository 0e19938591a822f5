"""Options and arguments that commands share: the adapter, the registry, the service, the key."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from adapters_registry.access import DEFAULT_TENANT, parse_key
from adapters_registry.client import RegistryClient
from adapters_registry.errors import VersionNotFound
from adapters_registry.names import is_digest, is_version, take_apart
from adapters_registry.records import AdapterRecord, VersionDetail

if TYPE_CHECKING:
    from service.settings import Settings

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry", metavar="URL", help="The registry's address; default: QUICKCHANGE_REGISTRY_URL or _PORT."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The service's address; default: this machine, QUICKCHANGE_PORT."),
]
KEY_VARIABLE = "QUICKCHANGE_API_KEY"
KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help=f"A file with the API key; default: {KEY_VARIABLE}."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
MetricOption = Annotated[
    list[str] | None, typer.Option("--metric", metavar="NAME=NUMBER", help="A metric of the version. Repeatable.")
]


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
        if self.selector is None or is_digest(self.selector):
            return self.selector
        if not is_version(self.selector):
            raise typer.BadParameter(f"{self.selector!r} is no version: give its number or its sha256: digest.")
        return int(self.selector)


def parse_target(text: str, *, selector: bool = True) -> Target:
    """The adapter that ``text`` names; the tenant defaults to ``default``."""
    named = take_apart(text)
    if named is None or (named.selector is not None and not (selector and named.selector)):
        form = "[tenant/]name[@version]" if selector else "[tenant/]name"
        raise typer.BadParameter(
            f"{text!r}: use {form} with lower-case letters, digits, '.', '_' and '-', at most 63 each."
        )
    return Target(named.tenant or DEFAULT_TENANT, named.name, named.selector)


def open_registry(url: str | None, key_file: Path | None = None) -> RegistryClient:
    """A client of ``url``, or of the registry that the settings name."""
    if url is None:
        url = configured().registry
    return RegistryClient(_address(url, "--registry"), key=api_key(key_file))


def api_key(key_file: Path | None = None) -> str | None:
    """The caller's key, or None. It is never an argument, because every user of the machine can read those."""
    text = (os.environ.get(KEY_VARIABLE, "") if key_file is None else key_file.read_text()).strip()
    if not text and key_file is None:
        return None
    if parse_key(text) is None:
        raise typer.BadParameter(f"{key_file or KEY_VARIABLE} holds no API key: it must read qc_ID_SECRET, whole.")
    return text


def parse_digest(text: str) -> str:
    """``text`` itself; a usage error if it is no digest."""
    if not is_digest(text):
        raise typer.BadParameter(f"{text!r} is no digest: use sha256: and 64 hexadecimal digits.")
    return text


def parse_metrics(given: Iterable[str] | None) -> dict[str, float]:
    """``NAME=NUMBER`` each."""
    metrics = {}
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            metrics[name] = float(value)
        except ValueError:
            metrics[name] = math.nan
        if not name or not math.isfinite(metrics[name]):
            raise typer.BadParameter(f"{text!r}: use NAME=NUMBER, such as accuracy=0.93.", param_hint="--metric")
    return metrics


def find_version(client: RegistryClient, record: AdapterRecord, selector: str) -> VersionDetail:
    """The adapter's version of that alias, number or digest. ``VersionNotFound`` lists the existing ones."""
    names = {alias.alias: alias.digest for alias in record.aliases}
    names |= {str(version.number): version.digest for version in record.versions}
    names |= {version.digest: version.digest for version in record.versions}
    if selector not in names:
        known = ", ".join(name for name in names if not name.startswith("sha256:")) or "nothing"
        raise VersionNotFound(f"{record.tenant}/{record.name}@{selector} does not exist: the adapter has {known}.")
    detail = client.version(names[selector])
    # Another adapter with the same files may be returned for the digest: show the version of this one.
    mine = next(version for version in record.versions if version.digest == detail.record.digest)
    return detail.model_copy(update={"tenant": record.tenant, "name": record.name, "record": mine})


def service_url(url: str | None) -> str:
    """``url``, or where ``quickchange up`` listens by the settings."""
    return f"http://127.0.0.1:{configured().port}" if url is None else _address(url, "--url")


def _address(url: str, option: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} is no address: use http://host:port.", param_hint=option)
    return url


def configured() -> Settings:
    """The settings of this environment; a usage error if one is wrong."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from service.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "QUICKCHANGE_" + "__".join(str(part).upper() for part in first["loc"])
        raise typer.BadParameter(f"{name}: {first['msg']}.") from None
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
