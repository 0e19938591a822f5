"""``quickchange protect`` and ``unprotect``: aliases that only keys with ``alias:write`` can move."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.names import PRODUCTION
from service.commands.output import print_json, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry, parse_target

AliasArgument = Annotated[
    str, typer.Argument(metavar="[TENANT/]NAME[@ALIAS]", help=f"The alias is {PRODUCTION} if left out.")
]


def protect(
    name: AliasArgument,
    requires: Annotated[
        str | None,
        typer.Option(
            metavar="EVALUATION", help="An evaluation that a version must have passed before the alias moves to it."
        ),
    ] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Protect an alias: only keys with the scope alias:write can move it.

    quickchange protect acme/support@production --requires smoke
    """
    _set(name, True, requires, json, registry, key_file)


def unprotect(
    name: AliasArgument,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Allow keys with adapter:write to move the alias again.

    quickchange unprotect acme/support@production
    """
    _set(name, False, None, json, registry, key_file)


def _set(
    name: str, protected: bool, requires: str | None, json: bool, registry: RegistryOption, key_file: KeyFileOption
) -> None:
    target = parse_target(name)
    alias = target.selector or PRODUCTION
    with open_registry(registry, key_file) as client:
        record = client.protect_alias(target.tenant, target.name, alias, protected, requires)
    if json:
        print_json(record)
        return
    needs = f", to versions that passed {record.requires!r}" if record.requires else ""
    rule = f"is protected: only keys with alias:write can move it{needs}" if record.protected else "is not protected"
    say(f"{target.tenant}/{target.name}@{alias} {rule}")
