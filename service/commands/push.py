"""``quickchange push``: a PEFT folder becomes an adapter's next version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters_registry.client import Pushed
from service.commands.output import print_json, say, short
from service.commands.progress import showing
from service.commands.target import JsonOption, RegistryOption, open_registry, parse_target


def push(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that PEFT's save_pretrained wrote.")],
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME", help="The tenant is 'default' if left out.")],
    promote: Annotated[bool, typer.Option("--promote", help="Make it live at once (alias production).")] = False,
    base: Annotated[str | None, typer.Option(help="The base's digest or name; else the one last served.")] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Upload a PEFT folder as an adapter's next version. The first version is live at once.

    quickchange push ./my-adapter acme/support --promote
    """
    target = parse_target(name, selector=False)
    with open_registry(registry) as client, showing("upload", quiet=json) as progress:
        pushed = client.push(directory, target.tenant, target.name, base=base, promote=promote, progress=progress)
    if json:
        print_json(
            {
                **pushed.published.model_dump(mode="json"),
                "ignored": list(pushed.ignored),
                "trained_on": pushed.trained_on,
            }
        )
    else:
        _tell(pushed)


def _tell(pushed: Pushed) -> None:
    published = pushed.published
    reference = f"{published.tenant}/{published.name}@{published.record.number}"
    say(f"{reference}  {short(published.record.digest)}  " + ("pushed" if published.created else "was there already"))
    live = [alias.alias for alias in published.aliases if alias.digest == published.record.digest]
    say(f"aliases at it: {', '.join(live)}" if live else f"not live; quickchange promote {reference} makes it so")
    if pushed.ignored:
        say(f"not uploaded: {', '.join(pushed.ignored)}")
