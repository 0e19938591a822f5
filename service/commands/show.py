"""``quickchange show``: one adapter's versions and aliases, one version, or the lineage."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters_registry.errors import VersionNotFound
from adapters_registry.names import PRODUCTION
from adapters_registry.records import AdapterRecord, VersionDetail
from service.commands.lineage import tree
from service.commands.output import moment, print_json, print_table, print_tree, say, short, size
from service.commands.target import (
    JsonOption,
    KeyFileOption,
    RegistryOption,
    find_version,
    open_registry,
    parse_target,
)


def show(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME[@VERSION|@ALIAS]")],
    lineage: Annotated[
        bool,
        typer.Option(
            "--lineage", help="Show which version was trained from which; default: around the live version."
        ),
    ] = False,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Show an adapter's versions and aliases, or one version.

    quickchange show acme/support@production

    quickchange show acme/support --lineage
    """
    target = parse_target(name)
    with open_registry(registry, key_file) as client:
        record = client.adapter(target.tenant, target.name)
        selector = target.selector or (_live(record) if lineage else None)
        detail = find_version(client, record, selector) if selector else None
        family = client.lineage(detail.record.digest) if detail and lineage else None
    if family and detail and not json:
        print_tree(tree(family, detail.record.digest))
        if not family.complete:
            say("the tree is not complete: there are more versions")
    elif family:
        print_json(family)
    elif json:
        print_json(detail or record)
    elif detail is not None:
        _tell(detail)
    else:
        _tabulate(record)


def _live(record: AdapterRecord) -> str:
    """The digest of the live version, or of the newest if none is live."""
    newest = [version.digest for version in record.versions[-1:]]
    digests = [alias.digest for alias in record.aliases if alias.alias == PRODUCTION] + newest
    if not digests:
        raise VersionNotFound(f"{record.tenant}/{record.name} has no version.")
    return digests[0]


def _tabulate(record: AdapterRecord) -> None:
    pointing: dict[int, list[str]] = {}
    for alias in record.aliases:
        pointing.setdefault(alias.version, []).append(alias.alias)
    print_table(
        ("VERSION", "ALIASES", "KIND", "RANK", "SIZE", "PUSHED", "DIGEST", "BASE"),
        (
            (
                str(version.number),
                " ".join(pointing.get(version.number, ["-"])),
                version.kind,
                str(version.rank),
                size(version.size_bytes),
                moment(version.created_at),
                short(version.digest),
                short(version.base),
            )
            for version in record.versions
        ),
        title=f"{record.tenant}/{record.name}",
    )


def _tell(detail: VersionDetail) -> None:
    record, manifest = detail.record, detail.manifest
    say(f"{detail.tenant}/{detail.name}@{record.number}")
    for label, value in (
        ("digest", record.digest),
        ("base", record.base),
        ("kind", f"{record.kind}, rank {record.rank}, {manifest.dtype}, {len(manifest.modules)} modules"),
        ("size", size(record.size_bytes)),
        ("pushed", moment(record.created_at)),
    ):
        say(f"  {label:<7} {value}")
    for file in manifest.files:
        say(f"  file    {file.path}  {short(file.digest)}  {size(file.size)}")
    for note in detail.notes:
        say(f"  note    {note.message}")
    for evaluation in detail.evaluations:
        say(f"  {'passed' if evaluation.passed else 'failed'}  {evaluation.name}  {moment(evaluation.at)}")
