"""``quickchange up``: start all processes on this machine, show how to use them, stop them completely."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
import typer
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from adapters_registry.access import new_key
from adapters_registry.support.threads import NO_THREAD, is_no_thread
from service.access.marks import key_mark, mark_dir
from service.base import PreparedBase, prepare_base
from service.commands.examples import BUNDLED_FOLDER, Example, NoExamples, find_examples, offer
from service.commands.examples import Service as Target
from service.commands.obstacles import (
    listens_beyond,
    need_bundled_base,
    need_directory,
    need_good_key,
    need_own_registry,
    need_port,
    only_one,
)
from service.commands.program import program
from service.commands.progress import showing
from service.commands.target import KEY_VARIABLE, api_key
from service.commands.welcome import gateway_url, welcome
from service.dispatch.dispatcher import DRAIN_S
from service.errors import QuickchangeError
from service.process.child import Child
from service.process.keeper import STOP_SIGNALS, end_descendants, keep
from service.process.life import DriverLife, Place
from service.process.ray_directory import NotOurs, home, ray_directory
from service.process.supervisor import Service
from service.process.waiting import POLL_S, CannotStart, Interrupted, await_answer
from service.settings import Settings
from service.support.logs import open_logs

logger = logging.getLogger(__name__)

REGISTRY_S = 30.0
T = TypeVar("T")


def _shown(name: str) -> Any:
    """The setting of that name with its computed default, for the help."""
    known = Settings.model_fields[name]
    return Field(known.get_default(call_default_factory=True), description=known.description)


class UpSettings(Settings):
    """Serve one base model and its adapters on this machine, with an embedded registry.

    Every option is also a variable: --port is QUICKCHANGE_PORT, --engine.threads is QUICKCHANGE_ENGINE__THREADS.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="quickchange up",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,  # otherwise the whole usage is printed before the reason
    )

    cache_dir: Path = _shown("cache_dir")
    data_dir: Path = _shown("data_dir")

    examples: Literal["bundled"] | Path | None = None
    """Adapters to push at the start, if the registry does not have them: ``bundled`` for those of this package, or a
    folder with adapters in TENANT/NAME/VERSION.

    If API keys exist, this needs one in QUICKCHANGE_API_KEY with adapter:write, adapter:read and infer.
    """


def up(arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM. Returns 0 after a stop, 1 if it cannot start, 2 for a wrong option."""
    try:
        settings = UpSettings(_cli_parse_args=list(arguments))
    except ValidationError as error:
        for problem in error.errors():
            option = ".".join(str(part) for part in problem["loc"]).replace("_", "-")
            _say(f"quickchange up: --{option}: {problem['msg']}")
        return 2
    except SettingsError as error:
        reason = str(error).removeprefix("error parsing CLI: ")
        _say(f"quickchange up: {reason} ({program()} up --help lists the options)")
        return 2
    if settings.registry_url is None and settings.port == settings.registry_port:
        _say(f"quickchange up: --port and --registry-port are both {settings.port}: choose two")
        return 2
    try:
        examples = _examples(settings.examples)
        api_key()  # a malformed key is reported before anything is started
    except NoExamples as error:
        _say(f"quickchange up: --examples: {error}")
        return 2
    except typer.BadParameter as error:
        _say(f"quickchange up: {error.message}")
        return 2
    return keep(lambda: _serve(Settings.model_validate(settings.model_dump(exclude={"examples"})), examples))


def _examples(chosen: Literal["bundled"] | Path | None) -> Sequence[Example]:
    if chosen is None:
        return ()
    return find_examples(BUNDLED_FOLDER if chosen == "bundled" else chosen)


def _serve(settings: Settings, examples: Sequence[Example]) -> int:
    try:
        _run(settings, examples)
    except Interrupted:
        _say("stopped")
    except (CannotStart, NotOurs, QuickchangeError) as error:
        _say(f"quickchange up: {error}")
        return 1
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        _say(f"quickchange up: {NO_THREAD}")
        return 1
    return 0


def _run(settings: Settings, examples: Sequence[Example]) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        stop = _signals(stack)
        beyond = listens_beyond(settings.host)
        need_bundled_base(settings)
        need_port(settings.host, settings.port, "--port")
        need_directory(settings.data_dir, "--data-dir")
        need_directory(settings.cache_dir, "--cache-dir")
        settings, logs_dir = _with_logs(settings)
        checked = beyond
        stack.callback(end_descendants)
        registry = None
        if settings.registry_url is None:
            need_port("127.0.0.1", settings.registry_port, "--registry-port")
            stack.enter_context(only_one(settings.data_dir))
            settings = _with_key(settings)
            registry = _start_registry(settings, stack)
            checked = beyond or key_mark(settings).is_set
            await_answer(f"{settings.registry}/health", REGISTRY_S, stop)
            need_own_registry(settings)
        if checked or registry is None:
            _until(stop, lambda: need_good_key(settings, _say, beyond=beyond))
        _say(f"preparing base {settings.base}")
        base = _until(stop, lambda: _prepare(settings))
        _say(f"loading {base.name} ({settings.replicas} replica{'s' * (settings.replicas > 1)})")
        directory = stack.enter_context(ray_directory(home()))
        place = Place(settings, gateway_url(settings), directory, logs_dir / "ray.log", lambda: _pids(registry))
        service = Service(lambda: DriverLife(place), _say)
        logs = service.start(stop)
        target = Target(gateway_url(settings), settings.registry, base.name)
        keyed = _wants_key(settings)
        if examples and keyed and api_key() is None:
            _say(f"examples skipped: the service has API keys, and {KEY_VARIABLE} is not set")
            examples = ()
        answering = _until(stop, lambda: offer(examples, target, _say, stop))
        _say(welcome(settings, base, logs, time.monotonic() - began, answering, keyed=keyed))
        try:
            service.keep(stop)
        except CannotStart:
            service.stop(stop)
            raise
        _say(f"stopping: running requests have {DRAIN_S:g} s to finish (a second signal stops immediately)")
        stop.clear()
        service.stop(stop)
        _say("stopped")


def _prepare(settings: Settings) -> PreparedBase:
    """Prepare the base in a separate process, because this one would keep the memory of the conversion."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(_prepare_here, settings).result()


def _prepare_here(settings: Settings) -> PreparedBase:
    """In the separate process, which shows its progress on the same terminal."""
    with showing("converting") as progress:
        return prepare_base(settings, _say, progress)


def _with_logs(settings: Settings) -> tuple[Settings, Path]:
    """The settings with a directory for logs, and that directory. This process logs there and shows its warnings."""
    directory = settings.logs.dir or settings.data_dir / "logs"
    logs = settings.logs.model_copy(update={"dir": directory})
    open_logs(settings.log_level, logs, "up")
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    logging.getLogger("service").addHandler(terminal)
    return settings.model_copy(update={"logs": logs}), directory


def _start_registry(settings: Settings, stack: contextlib.ExitStack) -> Child:
    options = {
        "data-dir": settings.data_dir,
        "mark-dir": mark_dir(settings),
        "host": "127.0.0.1",
        "port": settings.registry_port,
        "log-level": "warning",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    key = settings.registry_bearer
    assert key is not None
    secret = {"QUICKCHANGE_REGISTRY_SERVICE_KEY": key}
    registry = Child("registry", [sys.executable, "-m", "adapters_registry", *arguments], secret)
    registry.start()
    stack.callback(registry.stop)
    _say(f"registry at {settings.registry}, data in {settings.data_dir}")
    return registry


def _signals(stack: contextlib.ExitStack) -> threading.Event:
    """An event that the stop signals set, until the stack closes."""
    stop = threading.Event()
    for number in STOP_SIGNALS:
        stack.callback(signal.signal, number, signal.signal(number, lambda *_: stop.set()))
    return stop


def _until(stop: threading.Event, work: Callable[[], T]) -> T:
    """The result of slow ``work``, which runs in a thread so that the main thread receives signals.

    Raises ``Interrupted``, and leaves it running, when ``stop`` comes first.
    """
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not stop.is_set():
        if concurrent.futures.wait([done], POLL_S).done:
            return done.result()
    raise Interrupted


def _pids(registry: Child | None) -> tuple[int, ...]:
    return () if registry is None or registry.pid is None else (registry.pid,)


def _with_key(settings: Settings) -> Settings:
    """With a key for the embedded registry, created at each start and stored nowhere."""
    if settings.registry_key is not None:
        return settings
    return settings.model_copy(update={"registry_key": SecretStr(str(new_key()))})


def _wants_key(settings: Settings) -> bool:
    """Whether a caller without a key is refused."""
    try:
        answer = httpx.get(f"{gateway_url(settings)}/v1/models", timeout=5.0, trust_env=False)
    except httpx.TransportError:  # the gateway has ended again, and another one is starting
        return False
    return answer.status_code == httpx.codes.UNAUTHORIZED


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
    logger.info(line)
