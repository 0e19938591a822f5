"""``quickchange list``: all adapters and their live versions."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.records import AdapterRecord
from service.commands.output import moment, print_json, print_table, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry


def list_adapters(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List the adapters and their live versions.

    quickchange list --tenant acme
    """
    with open_registry(registry, key_file) as client:
        records = list(client.adapters(tenant))
    if json:
        print_json({"adapters": [record.model_dump(mode="json") for record in records]})
    elif records:
        print_table(("ADAPTER", "LIVE", "ALIASES", "VERSIONS", "NEWEST"), map(_row, records))
    else:
        say("no adapters yet; create one: quickchange push DIR [TENANT/]NAME")


def _row(record: AdapterRecord) -> tuple[str, ...]:
    live = next((str(alias.version) for alias in record.aliases if alias.alias == "production"), "-")
    others = [f"{alias.alias}={alias.version}" for alias in record.aliases if alias.alias != "production"]
    newest = moment(record.versions[-1].created_at) if record.versions else "-"
    return f"{record.tenant}/{record.name}", live, " ".join(others) or "-", str(len(record.versions)), newest
