"""All scenarios of one command: starts the service, pushes adapters, runs, writes files and tables."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.console import Console

from adapters_registry.client import RegistryClient
from loadtest.errors import PlotsMissing, ServiceNotReached, WrongUsage
from loadtest.limits import judge
from loadtest.machine import provenance
from loadtest.progress import Progress
from loadtest.provision import pushed, rivals
from loadtest.report import Result, compact_json, digest, document, print_result
from loadtest.run import Service, run
from loadtest.scenario import Cast, Needs, Scenario


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of ``run``."""

    url: str | None
    model: str | None
    models: tuple[str, ...]
    registry: str | None
    base: str | None
    key: str | None
    out: Path
    scale: float
    seed: int
    plots: bool
    json: bool


def measure_all(scenarios: Sequence[Scenario], options: Options) -> bool:
    """Returns whether every limit held. Raises ``WrongUsage`` before anything is started or sent."""
    check(scenarios, options)
    if options.plots:
        _check_plots()
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 120)
    progress = Progress(Console(stderr=True))
    results = []
    # A service that once had keys always requires them: a scenario that creates keys gets a separate service.
    open_ones = [scenario for scenario in scenarios if not scenario.needs(options.scale).huge]
    closed_ones = [[scenario] for scenario in scenarios if scenario.needs(options.scale).huge]
    for group in [open_ones, *closed_ones] if open_ones else closed_ones:
        with _service(options, progress, feedback=group is not open_ones) as service:
            for scenario in group:
                result = _measure(scenario, service, options, progress)
                results.append(digest(result) | {"files": [str(path) for path in _write(result, options)]})
                print_result(result, console)
    held = all(result["held"] for result in results)
    if options.json:
        print(json.dumps({"held": held, "scenarios": results}))
    return held


def check(scenarios: Sequence[Scenario], options: Options) -> None:
    """Raises ``WrongUsage`` for a command line that cannot be carried out."""
    for name, value in (("--url", options.url), ("--registry", options.registry)):
        if value is not None and not value.startswith(("http://", "https://")):
            raise WrongUsage(f"{name} {value!r} is no address: use http://host:port")
    if options.url is None and (options.registry or options.models or options.model):
        raise WrongUsage("--registry, --models and --model are about a service that runs: name it with --url")
    if options.url is not None and any(scenario.needs(options.scale).huge for scenario in scenarios):
        raise WrongUsage("rivals makes keys, after which a service stays closed: leave out --url, it starts one")
    if options.url is None or options.registry is not None:
        return
    for scenario in scenarios:
        needs = scenario.needs(options.scale)
        if needs.own:
            raise WrongUsage(f"{scenario.name} needs new adapters: give --registry, where they can be pushed")
        if needs.adapters and len(options.models) < 2:
            raise WrongUsage(f"{scenario.name} needs adapters: give --models with two or more, or --registry")


def _check_plots() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlotsMissing("plots need matplotlib: pip install 'quickchange[bench]', or give --no-plots") from error


@contextmanager
def _service(options: Options, progress: Progress, feedback: bool = False) -> Iterator[Service]:
    """The service at ``--url``, or one that is started here."""
    with ExitStack() as stack:
        if options.url is not None:
            registry = stack.enter_context(RegistryClient(options.registry)) if options.registry else None
            yield Service(options.url.rstrip("/"), options.key, registry)
            return
        from loadtest.server import running_service

        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        progress.say("starting a service")
        started = stack.enter_context(
            running_service(scratch / "data", *(["--feedback.enabled"] if feedback else []))
        )
        client = stack.enter_context(RegistryClient(started.registry))
        yield Service(f"{started.url}/v1", None, client, started.memory_bytes, started.registry)


def _measure(scenario: Scenario, service: Service, options: Options, progress: Progress) -> Result:
    base = options.model or _base_of(service)
    salt = secrets.token_hex(4)
    needs = scenario.needs(options.scale)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with _cast(base, needs, service, salt, options, progress) as (service, cast):
        plan = scenario.plan(cast, options.scale)
        done = asyncio.run(run(scenario, plan, service, seed=options.seed, salt=salt, progress=progress))
    origin = provenance() | {
        "started": started,
        "service": options.url or "started for this run",
        "model": base,
        "adapters": len(cast.adapters) + len(cast.huge),
        "seed": options.seed,
        "scale": options.scale,
    }
    return Result(scenario, done, tuple(judge(limit, done) for limit in scenario.limits), origin)


@contextmanager
def _cast(
    base: str, needs: Needs, service: Service, salt: str, options: Options, progress: Progress
) -> Iterator[tuple[Service, Cast]]:
    """The cast, and the service with the keys of its tenants."""
    name, cast = f"loadtest-{salt}", Cast(base)
    if options.models and not needs.own:
        yield service, replace(cast, adapters=options.models)
    elif not needs.adapters:
        yield service, cast
    elif needs.huge:
        with rivals(service, _checkpoint(options.base), needs, cast, name, progress.say) as found:
            yield found
    else:
        assert service.registry is not None, "checked before"
        checkpoint = _checkpoint(options.base)
        with pushed(service.registry, service.url, checkpoint, needs, name, progress.say) as names:
            yield service, replace(cast, adapters=names)


def _checkpoint(base: str | None) -> Path:
    from service.base import prepare_base
    from service.settings import Settings

    settings = Settings() if base is None else Settings(base=base)
    return prepare_base(settings, lambda line: print(line, file=sys.stderr)).path


def _base_of(service: Service) -> str:
    headers = {"authorization": f"Bearer {service.key}"} if service.key else {}
    try:
        answer = httpx.get(f"{service.url}/models", headers=headers, timeout=10, trust_env=False)
    except httpx.TransportError as error:
        raise ServiceNotReached(f"{service.url} does not answer: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise ServiceNotReached(f"{service.url}/models answered {answer.status_code}: --url ends in /v1")
    found = answer.json()["data"]
    if not found:
        raise ServiceNotReached(f"{service.url} serves no model")
    return str(next((model for model in found if model.get("parent") is None), found[0])["id"])


def _write(result: Result, options: Options) -> list[Path]:
    folder = options.out / result.scenario.name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "result.json"
    file.write_text(compact_json(document(result)) + "\n")
    if not options.plots:
        return [file]
    from loadtest.plots import draw_all

    return [file, *draw_all(result, folder)]
