"""``quickchange gc``: retire versions by each tenant's retention rules, then delete unused files."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import print_json, say, size
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    grace_s: Annotated[
        float | None,
        typer.Option(min=0, help="Keep files that were in use within this time; default: the registry's setting."),
    ] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Retire versions by their tenant's retention rules, then delete files that no version and no upload needs.

    quickchange gc --dry-run
    """
    with open_registry(registry, key_file) as client:
        found = client.collect(dry_run, grace_s)
    if json:
        print_json(found)
        return
    would = "would be " if dry_run else ""
    for version in found.retired:
        say(f"{version} {would}retired")
    say(f"{found.blobs} files of {size(found.bytes)} {would}deleted")
    if found.kept_by_lease:
        say(f"{found.kept_by_lease} kept for uploads that are not committed yet")
