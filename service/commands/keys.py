"""``quickchange keys``: create, list, rotate and revoke API keys. A key is shown once, when it is created."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters_registry.access import Scope, parse_key
from adapters_registry.records import KeyRecord, NewKey, Quotas
from service.access.marks import forget_keys, mark_dir
from service.commands.obstacles import only_one
from service.commands.output import moment, print_json, print_table, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, api_key, configured, open_registry
from service.errors import InvalidValue
from service.process.waiting import CannotStart

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke API keys.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The 12 characters between qc_ and the next _.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    scope: Annotated[
        list[Scope], typer.Option(metavar="SCOPE", help=f"A permission, repeatable: {', '.join(Scope)}.")
    ],
    tenant: Annotated[str | None, typer.Option(help="The key's tenant.")] = None,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="The key is for all tenants.")] = False,
    expires: Annotated[datetime | None, typer.Option(help="When the key expires (UTC); default: never.")] = None,
    requests_per_min: Annotated[int | None, typer.Option(min=1, help="Maximum requests per minute.")] = None,
    tokens_per_min: Annotated[
        int | None, typer.Option(min=1, help="Maximum tokens per minute, including prompts.")
    ] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Maximum choices (prompts × n) in flight.")] = None,
    resident_bytes: Annotated[
        int | None, typer.Option(min=1, help="Maximum bytes of adapters in use at the same time.")
    ] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Create a key and print it. It is shown only once, because the registry stores only its hash.

    quickchange keys create operator --all-tenants --scope admin > operator.key

    quickchange keys create app --tenant acme --scope infer --requests-per-min 600 > app.key
    """
    if (tenant is None) != all_tenants:
        raise typer.BadParameter("say for whom it acts: either --tenant TENANT or --all-tenants.")
    quotas = Quotas(
        requests_per_min=requests_per_min,
        tokens_per_min=tokens_per_min,
        concurrent=concurrent,
        resident_bytes=resident_bytes,
    )
    until = expires and expires.replace(tzinfo=UTC)
    with open_registry(registry, key_file) as client:
        made = client.create_key(name, scope, tenant=tenant, quotas=quotas, expires_at=until)
    _tell(made, json, f"key {made.record.id} ({made.record.name}) was created.")


@app.command(name="list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List the keys, without their secrets.

    quickchange keys list --tenant acme
    """
    with open_registry(registry, key_file) as client:
        records = client.keys(tenant)
    if json:
        print_json({"keys": [record.model_dump(mode="json") for record in records]})
    elif records:
        print_table(("ID", "NAME", "TENANT", "SCOPES", "QUOTAS", "MADE", "STATE"), map(_row, records))
    else:
        say("no keys: every caller on this machine has full access, and other machines have none")


@app.command()
def rotate(
    id: IdArgument,
    overlap_s: Annotated[float, typer.Option(min=0, help="How long the old key stays valid.")] = 86_400,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Create a key with the same permissions, and end the old key after the overlap.

    quickchange keys rotate abcdefghijkl --overlap-s 3600 > new.key
    """
    with open_registry(registry, key_file) as client:
        made = client.rotate_key(id, overlap_s)
    own = parse_key(api_key(key_file) or "")
    alone = own is not None and own.id == id
    until = (
        "it is revoked with the new one"
        if alone and _is_lasting_operator(made.record)
        else f"{overlap_s:g} s are over"
    )
    _tell(made, json, f"key {made.record.id} replaces {id}, which stays valid until {until}.")


@app.command()
def revoke(
    id: IdArgument,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """End a key now. Gateways that reach the registry refuse it within 10 s.

    quickchange keys revoke abcdefghijkl
    """
    with open_registry(registry, key_file) as client:
        client.revoke_key(id)
    if json:
        print_json({"revoked": id})
    else:
        say(f"revoked {id}")


@app.command()
def reopen(
    data_dir: Annotated[
        Path | None, typer.Option(help="As for `quickchange up`; default: QUICKCHANGE_DATA_DIR.")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="As for `quickchange up`; default: QUICKCHANGE_CACHE_DIR.")
    ] = None,
    registry_url: Annotated[
        str | None, typer.Option(help="As for `quickchange up`, for a separate registry.")
    ] = None,
) -> None:
    """Allow operation without keys again, after the database with the keys was lost. The service must not be running.

    Reopen a separate registry first, on its machine: python -m adapters_registry reopen.

    quickchange keys reopen
    """
    given = {"data_dir": data_dir, "cache_dir": cache_dir, "registry_url": registry_url}
    settings = configured().model_copy(update={name: value for name, value in given.items() if value is not None})
    with _stopped(settings):
        if settings.registry_url is None:
            places = ["--data-dir", str(settings.data_dir), "--mark-dir", str(mark_dir(settings))]
            if subprocess.run([sys.executable, "-m", "adapters_registry", "reopen", *places], check=False).returncode:
                raise typer.Exit(1)  # it has printed the reason
        forget_keys(settings)
    say("the record of keys was removed: start the service again")


@contextlib.contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """Make sure that ``quickchange up`` of an embedded registry does not run meanwhile."""
    if settings.registry_url is not None:
        yield
        return
    try:
        with only_one(settings.data_dir):
            yield
    except CannotStart as error:
        raise InvalidValue(str(error)) from error


def _tell(made: NewKey, json: bool, line: str) -> None:
    """Print only the key on stdout, so that it can be redirected to a file, and the message on stderr."""
    if json:
        print_json(made)
    else:
        print(made.key)
    print(f"{line} Keep it safe: it is shown only once.", file=sys.stderr)


def _is_lasting_operator(record: KeyRecord) -> bool:
    """Whether only another such key can end it, which proves that an operator has another."""
    return record.tenant is None and Scope.ADMIN in record.scopes and record.expires_at is None


def _row(record: KeyRecord) -> tuple[str, ...]:
    quotas = [f"{name}={value}" for name, value in record.quotas.model_dump().items() if value is not None]
    return (
        record.id,
        record.name,
        record.tenant or "*",
        " ".join(record.scopes),
        " ".join(quotas) or "-",
        moment(record.created_at),
        _state(record, datetime.now(UTC)),
    )


def _state(record: KeyRecord, now: datetime) -> str:
    if record.revoked_at is not None:
        return f"revoked {moment(record.revoked_at)}"
    if record.expires_at is None:
        return "valid"
    return f"{'expired' if record.expires_at <= now else 'valid until'} {moment(record.expires_at)}"
