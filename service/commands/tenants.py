"""``quickchange tenants``: the usage of each tenant, and its bounds."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.errors import TenantNotFound
from adapters_registry.records import Quotas, TenantBounds, TenantRecord
from service.commands.output import moment, print_json, print_table, say, size
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry

app = typer.Typer(no_args_is_help=True, help="List the tenants and their usage, and set their bounds.")

DEFAULT = "default"
Bound = Annotated[str | None, typer.Option(metavar="N|default", help="Unchanged if not given.")]


@app.command(name="list")
def list_tenants(json: JsonOption = False, registry: RegistryOption = None, key_file: KeyFileOption = None) -> None:
    """List the tenants, their usage and their bounds.

    quickchange tenants list
    """
    with open_registry(registry, key_file) as client:
        records = client.tenants()
    if json:
        print_json({"tenants": [record.model_dump(mode="json") for record in records]})
    elif records:
        _tabulate(*records)
    else:
        say("no tenants yet; the first push or `quickchange tenants set` creates one")


@app.command(name="set")
def set_tenant(
    name: Annotated[str, typer.Argument(metavar="TENANT", help="Created if it does not exist.")],
    max_bytes: Bound = None,
    max_versions: Bound = None,
    keep_versions: Bound = None,
    keep_days: Bound = None,
    requests_per_min: Bound = None,
    tokens_per_min: Bound = None,
    concurrent: Bound = None,
    resident_bytes: Bound = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Set a tenant's bounds: the bytes and versions that it may store, the versions that `quickchange gc` keeps, and
    the quotas of all its keys together.

    A version is retired when neither --keep-versions (an adapter's newest) nor --keep-days (younger ones) keeps it.

    quickchange tenants set acme --max-bytes 10000000000 --keep-versions 20

    quickchange tenants set acme --tokens-per-min 200000 --concurrent 32
    """
    given = {
        "max_bytes": max_bytes,
        "max_versions": max_versions,
        "keep_versions": keep_versions,
        "keep_days": keep_days,
        "requests_per_min": requests_per_min,
        "tokens_per_min": tokens_per_min,
        "concurrent": concurrent,
        "resident_bytes": resident_bytes,
    }
    changes = {field: _number(field, text) for field, text in given.items() if text is not None}
    with open_registry(registry, key_file) as client:
        try:
            known = client.tenant(name).model_dump(include=set(given))
        except TenantNotFound:
            known = {}
        record = client.put_tenant(name, TenantBounds(**(known | changes)))
    if json:
        print_json(record)
    else:
        _tabulate(record)


def _number(field: str, text: str) -> int | None:
    if text == DEFAULT:
        return None
    if not text.isdecimal():
        option = f"--{field.replace('_', '-')}"
        raise typer.BadParameter(f"{text!r} is neither a number nor '{DEFAULT}'.", param_hint=option)
    return int(text)


def _tabulate(*records: TenantRecord) -> None:
    print_table(
        ("TENANT", "USES", "OF", "VERSIONS", "OF", "KEEPS", "QUOTAS", "SINCE"),
        (
            (
                record.name,
                size(record.used_bytes),
                DEFAULT if record.max_bytes is None else size(record.max_bytes),
                str(record.used_versions),
                DEFAULT if record.max_versions is None else str(record.max_versions),
                _keeps(record),
                " ".join(f"{name}={limit}" for name in Quotas.model_fields if (limit := getattr(record, name)))
                or "-",
                moment(record.created_at),
            )
            for record in records
        ),
    )


def _keeps(record: TenantRecord) -> str:
    kept = [
        f"{value} {what}"
        for value, what in ((record.keep_versions, "newest"), (record.keep_days, "days"))
        if value is not None
    ]
    return " and ".join(kept) or "all"
