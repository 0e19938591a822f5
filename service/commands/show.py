"""``quickchange show``: one adapter's versions and aliases, or one version."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.client import RegistryClient
from adapters_registry.errors import VersionNotFound
from adapters_registry.records import AdapterRecord, VersionDetail
from service.commands.output import moment, print_json, print_table, say, short, size
from service.commands.target import JsonOption, RegistryOption, Target, open_registry, parse_target


def show(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME[@VERSION|@ALIAS]")],
    json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Show an adapter's versions and aliases, or one version.

    quickchange show acme/support@production
    """
    target = parse_target(name)
    with open_registry(registry) as client:
        record = client.adapter(target.tenant, target.name)
        detail = _detail(client, record, target)
    if json:
        print_json(detail or record)
    elif detail is not None:
        _tell(detail)
    else:
        _tabulate(record)


def _detail(client: RegistryClient, record: AdapterRecord, target: Target) -> VersionDetail | None:
    if target.selector is None:
        return None
    names = {alias.alias: alias.digest for alias in record.aliases}
    names |= {str(version.number): version.digest for version in record.versions}
    names |= {version.digest: version.digest for version in record.versions}
    if target.selector not in names:
        known = ", ".join(name for name in names if not name.startswith("sha256:")) or "nothing"
        raise VersionNotFound(f"{target} does not exist: the adapter has {known}.")
    detail = client.version(names[target.selector])
    # Another adapter with the very same files may answer for the digest: the version shown is this one's.
    mine = next(version for version in record.versions if version.digest == detail.record.digest)
    return detail.model_copy(update={"tenant": record.tenant, "name": record.name, "record": mine})


def _tabulate(record: AdapterRecord) -> None:
    pointing: dict[int, list[str]] = {}
    for alias in record.aliases:
        pointing.setdefault(alias.version, []).append(alias.alias)
    print_table(
        ("VERSION", "ALIASES", "KIND", "RANK", "SIZE", "PUSHED", "DIGEST", "BASE"),
        (
            (
                str(version.number),
                " ".join(pointing.get(version.number, ["-"])),
                version.kind,
                str(version.rank),
                size(version.size_bytes),
                moment(version.created_at),
                short(version.digest),
                short(version.base),
            )
            for version in record.versions
        ),
        title=f"{record.tenant}/{record.name}",
    )


def _tell(detail: VersionDetail) -> None:
    record, manifest = detail.record, detail.manifest
    say(f"{detail.tenant}/{detail.name}@{record.number}")
    for label, value in (
        ("digest", record.digest),
        ("base", record.base),
        ("kind", f"{record.kind}, rank {record.rank}, {manifest.dtype}, {len(manifest.modules)} modules"),
        ("size", size(record.size_bytes)),
        ("pushed", moment(record.created_at)),
    ):
        say(f"  {label:<7} {value}")
    for file in manifest.files:
        say(f"  file    {file.path}  {short(file.digest)}  {size(file.size)}")
