"""``quickchange audit``: list the changes, or verify the audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import moment, print_json, print_table, say
from service.commands.target import JsonOption, KeyFileOption, RegistryOption, open_registry


def audit(
    verify: Annotated[
        bool, typer.Option("--verify", help="Recompute the digest of every entry instead of listing them.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Only entries after this SEQ.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of entries; default: the registry's page size.")
    ] = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List the changes, oldest first, or verify their chain of digests. The exit code is 1 if the chain is broken.

    quickchange audit --verify
    """
    with open_registry(registry, key_file) as client:
        if verify:
            report = client.verify_audit()
            if json:
                print_json(report)
            else:
                say(f"{report.entries} entries are unchanged; the last digest is {report.head}")
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
        say(f"there are more entries: --after {page.next}")
