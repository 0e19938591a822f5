"""``python -m loadtest``: measures a running service, or one that is started for the measurement."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadtest.errors import LoadtestError, WrongUsage
from loadtest.scenarios import SCENARIOS
from loadtest.session import Options, measure_all

app = typer.Typer(
    help="Load tests of an OpenAI-compatible service: each scenario asks one question and has limits to hold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RESULTS = Path("loadtest/results")


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every limit held. 1: a limit is broken, or nothing could be measured (see stderr). 2: wrong usage."""
    from adapters_registry.errors import RegistryError

    try:
        app(list(sys.argv[1:] if arguments is None else arguments), prog_name="python -m loadtest")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except RegistryError as error:
        print(f"loadtest: {error.message}", file=sys.stderr)
        return 1
    except (LoadtestError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2 if isinstance(error, WrongUsage) else 1
    return 0


@app.command("list")
def list_scenarios() -> None:
    """List the scenarios: the question of each, how long it takes, and its limits."""
    from rich.console import Console

    from loadtest.report import print_scenario

    console = Console()
    for scenario in SCENARIOS.values():
        print_scenario(scenario, console)


@app.command("run")
def run(
    scenarios: Annotated[list[str] | None, typer.Argument(metavar="SCENARIO", help="All if none is named.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A running service, with /v1 at the end; default: one is started on free ports."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The base's model name; default: the first of /v1/models.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Adapters that exist at --url, separated by commas."),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(help="The registry of --url: random adapters are pushed there, and removed afterwards."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="The base that pushed adapters must fit; default: the service's default base."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--api-key", envvar="LOADTEST_API_KEY", help="Sent as a bearer token.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Results go to a folder of each scenario's name in it.")] = RESULTS,
    scale: Annotated[
        float,
        typer.Option(min=0.02, max=20, help="Stretches or shortens phases; below 1 takes fewer adapters."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Arrival times and choices of models follow from it.")] = 1,
    plots: Annotated[bool, typer.Option(help="Draw PNG files; needs the extra `bench`.")] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout; tables go to stderr.")] = False,
) -> None:
    """Run scenarios; the exit code is 1 if a limit is broken.

    python -m loadtest run base_closed zipf
    python -m loadtest run uniform --url http://127.0.0.1:8000/v1 --registry http://127.0.0.1:8100
    python -m loadtest run uniform --url http://127.0.0.1:8000/v1 --models acme/support,globex/support
    """
    chosen = list(dict.fromkeys(scenarios or SCENARIOS))
    for name in chosen:
        if name not in SCENARIOS:
            raise WrongUsage(f"there is no scenario {name!r}: choose from {', '.join(SCENARIOS)}")
    adapters = tuple(name.strip() for name in (models or "").split(",") if name.strip())
    options = Options(url, model, adapters, registry, base, key, out, scale, seed, plots, json)
    held = measure_all([SCENARIOS[name] for name in chosen], options)
    raise typer.Exit(0 if held else 1)


def _end(*_: object) -> NoReturn:
    """Exits by an exception, so that the service is stopped and pushed adapters are removed."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
