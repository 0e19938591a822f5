"""The message of ``quickchange up`` once it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.base import PreparedBase
from service.commands.examples import Example
from service.commands.program import at, program
from service.commands.target import KEY_VARIABLE
from service.settings import Settings
from service.support.logs import request_log


def gateway_url(settings: Settings) -> str:
    """The gateway's address on this machine."""
    host = settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def welcome(
    settings: Settings, base: PreparedBase, logs: Path, seconds: float, examples: Sequence[Example], *, keyed: bool
) -> str:
    """Addresses, files, and the next commands; ``examples`` are those that answer."""
    shown = max(examples, key=lambda example: len(example.versions), default=None)
    model = shown.model if shown else base.name
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    header = f'-H "authorization: Bearer ${KEY_VARIABLE}" ' if keyed else ""
    url, verb, where = gateway_url(settings), program(), at(settings.registry)
    second = [f"  {verb} promote {model}@2{where}"] if shown and len(shown.versions) > 1 else []
    return "\n".join(
        [
            f"ready after {seconds:.0f} s",
            "",
            f"  model      {base.name}",
            *[f"  example    {example.model}" for example in examples],
            f"  API        {url}/v1",
            f"  registry   {settings.registry}",
            f"  requests   {request_log(settings.logs)}",
            f"  logs       {settings.logs.dir}, Ray's own in {logs}",
            "",
            "Next, in another terminal:",
            f"  curl {url}/v1/chat/completions {header}-H 'content-type: application/json' -d '{body}'",
            *second,
            f"  {verb} push PEFT_DIRECTORY default/NAME{where}",
            "Ctrl-C stops.",
        ]
    )
