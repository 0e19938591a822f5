"""``quickchange evaluate``: record the result of an evaluation of a version."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.output import print_json, say
from service.commands.target import (
    JsonOption,
    KeyFileOption,
    MetricOption,
    RegistryOption,
    find_version,
    open_registry,
    parse_metrics,
    parse_target,
)


def evaluate(
    name: Annotated[str, typer.Argument(metavar="[TENANT/]NAME@VERSION|@ALIAS", help="The version.")],
    evaluation: Annotated[
        str, typer.Argument(help="The name of the evaluation, which a protected alias can require.")
    ],
    passed: Annotated[bool, typer.Option("--passed/--failed", help="The result.")],
    metric: MetricOption = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Record the result of an evaluation of a version. A later result replaces an earlier one.

    quickchange evaluate acme/support@3 smoke --passed --metric accuracy=0.93
    """
    target = parse_target(name)
    if target.selector is None:
        raise typer.BadParameter(f"{name!r} names no version: use {name}@VERSION.")
    metrics = parse_metrics(metric)
    with open_registry(registry, key_file) as client:
        record = client.adapter(target.tenant, target.name)
        number = find_version(client, record, target.selector).record.number
        found = client.evaluate(target.tenant, target.name, number, evaluation, passed, metrics)
    if json:
        print_json(found)
    else:
        figures = "".join(f"  {key}={value:g}" for key, value in found.metrics.items())
        say(f"{record.tenant}/{record.name}@{number} {'passed' if found.passed else 'failed'} {found.name}{figures}")
