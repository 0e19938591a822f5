"""``quickchange share`` and ``unshare``: allow another tenant to use an adapter, or end this."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.records import AdapterRecord
from service.commands.output import print_json, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry, parse_target

NameArgument = Annotated[str, typer.Argument(metavar="[TENANT/]NAME")]
GranteeArgument = Annotated[
    str, typer.Argument(metavar="TENANT|*", help="The tenant; '*', in quotes, means every tenant.")
]


def share(
    name: NameArgument,
    grantee: GranteeArgument,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Allow another tenant to read and use an adapter. Only the owner can change it.

    quickchange share acme/support globex
    """
    target = parse_target(name, selector=False)
    with open_registry(registry, key_file) as client:
        _tell(client.share(target.tenant, target.name, grantee), json)


def unshare(
    name: NameArgument,
    grantee: GranteeArgument,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Stop sharing an adapter with a tenant. Running requests finish.

    quickchange unshare acme/support globex
    """
    target = parse_target(name, selector=False)
    with open_registry(registry, key_file) as client:
        _tell(client.unshare(target.tenant, target.name, grantee), json)


def _tell(record: AdapterRecord, json: bool) -> None:
    if json:
        print_json(record)
    else:
        say(f"{record.tenant}/{record.name} is shared with {', '.join(record.shared_with) or 'no tenant'}")
