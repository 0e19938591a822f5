"""``quickchange promote``: move an alias to a version, beginning with the next request."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import print_json, say, short
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry, parse_target


def promote(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME@VERSION", help="A number or a sha256: digest.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Point an alias at a version. Running requests finish on the version that they started with.

    quickchange promote acme/support@3
    """
    target = parse_target(name)
    version = target.version
    if version is None:
        raise typer.BadParameter(f"{name!r} names no version: use {name}@VERSION.")
    with open_registry(registry, key_file) as client:
        moved = client.promote(target.tenant, target.name, version, alias)
    if json:
        print_json(moved)
    else:
        say(f"{target.tenant}/{target.name}@{alias} -> version {moved.version} ({short(moved.digest)})")
