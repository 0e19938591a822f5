"""``quickchange pull``: download a version's PEFT folder, byte for byte as it was pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.output import print_json, say, short, size
from service.commands.progress import showing
from service.commands.target import (
    JsonOption,
    KeyFileOption,
    RegistryOption,
    find_version,
    open_registry,
    parse_target,
)

LIVE = "production"


def pull(
    name: Annotated[
        str, typer.Argument(metavar="[TENANT/]NAME[@VERSION|@ALIAS]", help=f"Default: the alias {LIVE}.")
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Download a version's PEFT folder, byte for byte as it was pushed.

    quickchange pull acme/support@3 ./support-3
    """
    target = parse_target(name)
    with open_registry(registry, key_file) as client, showing("download", quiet=json) as progress:
        record = client.adapter(target.tenant, target.name)
        detail = find_version(client, record, target.selector or LIVE)
        client.pull(detail.manifest, directory, progress=progress)
    if json:
        shown = detail.model_dump(mode="json")
        del shown["manifest"]["modules"]
        print_json({"directory": str(directory), **shown})
        return
    say(f"{detail.tenant}/{detail.name}@{detail.record.number}  {short(detail.record.digest)}  in {directory}")
    for file in detail.manifest.files:
        say(f"  {file.path}  {size(file.size)}")
