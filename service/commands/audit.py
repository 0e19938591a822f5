"""``quickchange audit``: who changed what, and whether the record is whole."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import moment, print_json, print_table, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry


def audit(
    verify: Annotated[bool, typer.Option("--verify", help="Recompute every entry's digest instead.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Only entries after this SEQ.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most entries; else as many as the registry gives.")
    ] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List changes, oldest first, or verify the chain that they form; a broken one is exit code 1.

    quickchange audit --verify
    """
    with open_registry(registry, key_file) as client:
        if verify:
            report = client.verify_audit()
            if json:
                print_json(report)
            else:
                say(f"{report.entries} entries are whole; the last digest is {report.head}")
            return
        page = client.audit(after, limit)
    if json:
        print_json(page)
        return
    print_table(
        ("SEQ", "AT", "ACTOR", "ACTION", "SUBJECT", "ALIAS", "DETAIL"),
        (
            (str(e.seq), moment(e.at), e.actor, e.action, e.subject, e.alias or "-", e.detail or "-")
            for e in page.entries
        ),
    )
    if page.next is not None:
        say(f"there is more: --after {page.next}")
