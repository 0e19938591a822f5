"""``quickchange show``: one adapter's versions and aliases, or one version."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.records import AdapterRecord, VersionDetail
from service.commands.output import moment, print_json, print_table, say, short, size
from service.commands.target import JsonOption, RegistryOption, find_version, open_registry, parse_target


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
        detail = find_version(client, record, target.selector) if target.selector else None
    if json:
        print_json(detail or record)
    elif detail is not None:
        _tell(detail)
    else:
        _tabulate(record)


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
