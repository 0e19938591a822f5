"""``quickchange rollback``: move an alias back to the version before."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import print_json, say, short
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry, parse_target


def rollback(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME")],
    alias: Annotated[str, typer.Option(help="The alias to move back.")] = "production",
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Point an alias back at the version before. Each further rollback goes back one more version.

    quickchange rollback acme/support
    """
    target = parse_target(name, selector=False)
    with open_registry(registry, key_file) as client:
        moved = client.rollback(target.tenant, target.name, alias)
    if json:
        print_json(moved)
    else:
        say(f"{target}@{alias} -> version {moved.version} ({short(moved.digest)})")
