"""``quickchange push``: upload a PEFT folder, from this machine or the Hub, as an adapter's next version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from adapters_registry.allowances import Allowances
from adapters_registry.client import Pushed, RegistryClient
from adapters_registry.errors import UnknownFile
from adapters_registry.folder import WEIGHTS, check_folder, describe
from adapters_registry.names import PRODUCTION
from service.commands.hub import fetch_adapter, is_hub_id
from service.commands.output import print_json, say, short, size
from service.commands.program import at, program
from service.commands.progress import showing
from service.commands.target import (
    JsonOption,
    KeyFileOption,
    MetricOption,
    RegistryOption,
    configured,
    find_version,
    open_registry,
    parse_digest,
    parse_metrics,
    parse_target,
)


def push(
    source: Annotated[
        str, typer.Argument(metavar="DIR|HUB_ID", help="A folder written by PEFT's save_pretrained, or OWNER/NAME.")
    ],
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME", help="The tenant is 'default' if left out.")],
    promote: Annotated[bool, typer.Option("--promote", help="Make it live immediately (alias production).")] = False,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base's digest or name; default: the base named in the configuration, or the only base."
        ),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(metavar="[TENANT/]NAME[@VERSION|@ALIAS]", help="The version from which training started."),
    ] = None,
    data_digest: Annotated[
        str | None, typer.Option(parser=parse_digest, metavar="SHA256", help="The digest of the training data.")
    ] = None,
    training_config_digest: Annotated[
        str | None,
        typer.Option(parser=parse_digest, metavar="SHA256", help="The digest of the training configuration."),
    ] = None,
    metric: MetricOption = None,
    ignore_field: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Ignore this unknown field of the configuration. Repeatable."),
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Accept a file without some of the configured modules; these stay unchanged."
        ),
    ] = False,
    allow_no_effect: Annotated[
        bool,
        typer.Option("--allow-no-effect", help="Accept an adapter that changes nothing, such as an untrained one."),
    ] = False,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Upload a PEFT folder as an adapter's next version. The first version is live immediately.

    To continue an interrupted upload, push the same folder again.

    quickchange push ./my-adapter acme/support --promote

    quickchange push ./tuned acme/support --parent acme/support@3 --metric accuracy=0.93
    """
    target = parse_target(name, selector=False)
    told = {"data_digest": data_digest, "training_config_digest": training_config_digest}
    lineage: dict[str, JsonValue] = {field: digest for field, digest in told.items() if digest is not None}
    if metrics := parse_metrics(metric):
        lineage["metrics"] = dict(metrics)
    directory = Path(source)
    if not directory.exists() and not is_hub_id(source):
        raise UnknownFile(
            f"{source} is no folder here, and no id of the Hub either, which reads OWNER/NAME.", param="dir"
        )
    if is_hub_id(source):
        directory = fetch_adapter(source, configured().cache_dir)
        lineage["source"] = f"hub:{source}@{directory.name}"
    with open_registry(registry, key_file) as client, showing("upload", quiet=json) as progress:
        if parent is not None:
            lineage["parent"] = _digest(client, parent)
        if not json:
            _tell_resuming(client, directory, target.tenant)
        pushed = client.push(
            directory,
            target.tenant,
            target.name,
            base=base,
            promote=promote,
            lineage=lineage,
            allowed=Allowances(
                ignore_fields=tuple(ignore_field or ()), partial=allow_partial, no_effect=allow_no_effect
            ),
            progress=progress,
        )
    if json:
        print_json(
            {
                **pushed.published.model_dump(mode="json"),
                "ignored": list(pushed.ignored),
                "trained_on": pushed.trained_on,
            }
        )
    else:
        _tell(pushed, client.url)


def _tell_resuming(client: RegistryClient, directory: Path, tenant: str) -> None:
    check_folder(directory)
    weights = describe(directory / WEIGHTS)
    state = client.upload_state(weights.digest, tenant)
    if state is not None and not state.complete:
        print(f"upload: continuing after {size(state.size)} of {size(weights.size)}", file=sys.stderr)


def _digest(client: RegistryClient, version: str) -> str:
    target = parse_target(version)
    record = client.adapter(target.tenant, target.name)
    return find_version(client, record, target.selector or PRODUCTION).record.digest


def _tell(pushed: Pushed, registry: str) -> None:
    published = pushed.published
    reference = f"{published.tenant}/{published.name}@{published.record.number}"
    say(f"{reference}  {short(published.record.digest)}  " + ("pushed" if published.created else "exists already"))
    live = [alias.alias for alias in published.aliases if alias.digest == published.record.digest]
    hint = f"{program()} promote {reference}{at(registry)}"
    say(f"aliases: {', '.join(live)}" if live else f"not live; to make it live: {hint}")
    for note in published.notes:
        say(f"note: {note.message}")
    if pushed.ignored:
        say(f"not uploaded: {', '.join(pushed.ignored)}")
