"""``quickchange delete``: delete a version, or an adapter with all its versions."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from adapters_registry.errors import VersionNotFound
from service.commands.output import print_json, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry, parse_target


def delete(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME[@VERSION]")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Delete a version, or an adapter with all its versions. A version that an alias points at cannot be deleted.

    quickchange delete acme/support@2
    """
    target = parse_target(name)
    version = target.version
    _confirm(f"Delete {target}{'' if version else ' with all its versions and aliases'}?", yes)
    with open_registry(registry, key_file) as client:
        if version is None:
            client.delete_adapter(target.tenant, target.name)
        else:
            record = client.adapter(target.tenant, target.name)
            found = next((v.number for v in record.versions if version in (v.number, v.digest)), None)
            if found is None:
                raise VersionNotFound(f"{target} does not exist: quickchange show lists the versions.")
            client.delete_version(target.tenant, target.name, found)
    if json:
        print_json({"deleted": str(target)})
    else:
        say(f"deleted {target}")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to ask: add --yes.", param_hint="--yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
