"""``quickchange feedback``: feedback on answers as training rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from adapters_registry.access import DEFAULT_TENANT
from service.commands.output import print_json, print_table, say, size
from service.commands.target import JsonOption, configured
from service.feedback.export import export as export_rows
from service.feedback.manifest import Manifest, Selection
from service.feedback.rows import Format, Unfinished

app = typer.Typer(no_args_is_help=True, help="Export feedback on answers as training rows.")


@app.callback()
def feedback() -> None:
    """Export feedback on answers as training rows."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    format: Annotated[Format, typer.Option(help="The format of the rows, as TRL names it.")],
    tenant: Annotated[str, typer.Option(help="The tenant.")] = DEFAULT_TENANT,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TENANT/NAME", help="Only feedback on answers of this adapter, or of this version digest."
        ),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only feedback from this source, such as chat.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only feedback from this time on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only feedback before this time (UTC).")] = None,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Fraction of the prompts in the held-out split.")
    ] = 0.1,
    include: Annotated[
        list[Unfinished] | None, typer.Option(help="Also export these unfinished answers as good examples.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The service's data directory; default: QUICKCHANGE_DATA_DIR.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write feedback as rows for TRL's trainers, with a manifest. The service may be running.

    quickchange feedback export rows --format dpo --adapter acme/support
    """
    selection = Selection(
        format=format,
        tenant=tenant,
        adapters=tuple(adapter or ()),
        sources=tuple(source or ()),
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
        held_out=held_out,
        include=tuple(include or ()),
    )
    manifest = export_rows((data_dir or configured().data_dir) / "feedback" / "events", selection, out)
    if json:
        print_json(manifest)
    else:
        _tell(manifest, out)


def _tell(manifest: Manifest, out: Path) -> None:
    files = [(str(out / file.name), str(file.rows), size(file.bytes)) for file in manifest.files]
    print_table(["file", "rows", "size"], files)
    left = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in manifest.left.items())
    say(f"{manifest.rows} rows of {manifest.events} events{f'; left out: {left}' if left else ''}")
    say(f"sources of the rows: {out / 'manifest.json'}")
