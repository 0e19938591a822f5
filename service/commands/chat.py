"""``quickchange chat``: chat with the base and its adapters, and judge their answers."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from service.commands.target import KeyFileOption, UrlOption, api_key, service_url


def chat(
    model: Annotated[
        str | None, typer.Argument(help="[TENANT/]ADAPTER[@VERSION|@ALIAS], or a base; default: the base.")
    ] = None,
    url: UrlOption = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy; default: the service's, 1.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Maximum tokens of an answer; default: the rest of the context.")
    ] = None,
    open: Annotated[
        bool, typer.Option("--open", help="Show the adapters' names in comparisons, in the given order.")
    ] = False,
    key_file: KeyFileOption = None,
) -> None:
    """Chat with the base and its adapters; /help lists the commands.

    In a pipe, every line is a message or a command. Answers go to stdout, notes and errors to stderr, and the first
    error ends the chat.

    quickchange chat acme/support --system 'Be brief.'

    echo 'What is the capital of France?' | quickchange chat --temperature 0 --max-tokens 20
    """
    from service.chat.screen import Plain, Terminal
    from service.chat.session import Options, Session

    asked = {"temperature": temperature, "max_tokens": max_tokens}
    sampling = {name: value for name, value in asked.items() if value is not None}
    options = Options(sampling, None if open else lambda: secrets.randbelow(2) == 1, api_key(key_file))
    screen = Terminal() if sys.stdin.isatty() and sys.stdout.isatty() else Plain()
    raise typer.Exit(Session(service_url(url), model, system, options, screen).run())
