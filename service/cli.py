"""``quickchange``: a table of commands, each imported only when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Annotated, Any, NamedTuple

import typer

from adapters_registry.extras import DISTRIBUTION, missing, missing_packages, naming_the_extra


class Verb(NamedTuple):
    """A command: where its function is, and its line of help."""

    function: str
    """``module:name``; a ``typer.Typer`` is a group of commands."""
    help: str
    raw: bool = False
    """The function gets the unparsed arguments and returns the exit code."""
    extra: str | None = None
    """The extra whose packages it needs."""

    def load(self) -> Callable[..., Any]:
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


TABLE: dict[str, Verb] = {
    "up": Verb(
        "service.commands.up:up", "Serve a base model and its adapters on this machine.", raw=True, extra="serve"
    ),
    "push": Verb("service.commands.push:push", "Upload a PEFT folder, or one from the Hub, as the next version."),
    "list": Verb("service.commands.list:list_adapters", "List the adapters and their live versions."),
    "show": Verb("service.commands.show:show", "Show an adapter's versions and aliases, or one version."),
    "promote": Verb("service.commands.promote:promote", "Point an alias at a version."),
    "protect": Verb(
        "service.commands.protect:protect", "Allow only keys with the scope alias:write to move an alias."
    ),
    "unprotect": Verb("service.commands.protect:unprotect", "Allow keys with adapter:write to move an alias again."),
    "evaluate": Verb("service.commands.evaluate:evaluate", "Record the result of an evaluation of a version."),
    "rollback": Verb("service.commands.rollback:rollback", "Point an alias back at the version before."),
    "feedback": Verb("service.commands.feedback:app", "Export feedback on answers as training rows."),
    "delete": Verb("service.commands.delete:delete", "Delete a version, or an adapter with all its versions."),
    "share": Verb("service.commands.share:share", "Let another tenant use an adapter."),
    "unshare": Verb("service.commands.share:unshare", "Stop sharing an adapter with a tenant."),
    "keys": Verb("service.commands.keys:app", "Create, list, rotate and revoke API keys."),
    "tenants": Verb("service.commands.tenants:app", "List the tenants and their usage, and set their bounds."),
    "audit": Verb("service.commands.audit:audit", "List the changes, or verify the audit log."),
    "gc": Verb("service.commands.gc:gc", "Retire versions by retention rules, and delete unused files."),
    "pull": Verb("service.commands.pull:pull", "Download a version's PEFT folder."),
    "chat": Verb("service.commands.chat:chat", "Chat with the base and its adapters, and judge their answers."),
    "status": Verb("service.commands.status:status", "Show whether the service is ready, and what it holds."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb = given[0] if given else ""
    if verb in TABLE and (text := _missing(TABLE[verb])) is not None:
        print(f"quickchange {verb}: {text}", file=sys.stderr)
        return 1
    if verb in TABLE and TABLE[verb].raw:
        code = TABLE[verb].load()(given[1:])
        sys.stdout.flush()
        sys.stderr.flush()
        # An interrupted start leaves running threads, for which the interpreter would wait.
        os._exit(code)
    return _run(_application(verb), given)


def _missing(verb: Verb) -> str | None:
    """What to install before ``verb`` can run; None if nothing is missing."""
    if verb.extra is None:
        return None
    packages = missing_packages(verb.extra)
    return missing(verb.extra, packages) if packages else None


def _application(chosen: str) -> typer.Typer:
    """The command line with only the ``chosen`` command imported; the others are there for their help."""
    app = typer.Typer(
        help="Serve one frozen base model with many adapters, and manage them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, verb in TABLE.items():
        function = verb.load() if name == chosen else _unloaded
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=name)
        else:
            app.command(name, help=None if name == chosen else verb.help)(function)
    return app


def _run(app: typer.Typer, arguments: list[str]) -> int:
    from adapters_registry.support.errors import CodedError

    try:
        with naming_the_extra():
            app(arguments, prog_name="quickchange")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except CodedError as error:
        hint = " (set QUICKCHANGE_API_KEY, or give --key-file)" if error.code == "invalid_key" else ""
        print(f"quickchange: {error.message}{hint}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"quickchange: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        text = _unreachable(error)
        if text is None:
            raise
        print(f"quickchange: {text}", file=sys.stderr)
        return 1
    return 0


def _unreachable(error: Exception) -> str | None:
    """What to do if the service does not answer; None for another error."""
    import httpx  # not earlier, because the help does not need it

    from service.chat.remote import unreachable

    return unreachable(error) if isinstance(error, httpx.TransportError) else None


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve one frozen base model with many adapters, and manage them."""


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
        raise typer.Exit


def _unloaded() -> None:
    """Stands in the help for a command that is not called."""


if __name__ == "__main__":
    sys.exit(main())
