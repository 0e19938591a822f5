"""How this program is called here, for the lines that show the next command."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from service.settings import Settings


def program() -> str:
    """``quickchange`` if the shell finds it, otherwise the path by which it was called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{_shown(Path(sys.executable))} -m service"
    found = shutil.which(called.name)
    if found is not None and called.exists() and Path(found).samefile(called):
        return called.name
    return _shown(called)


def at(registry: str) -> str:
    """The option that a command needs to reach ``registry``, after a space; empty for the default registry."""
    default = f"http://127.0.0.1:{Settings.model_fields['registry_port'].default}"
    return "" if registry == default else f" --registry {registry}"


def _shown(path: Path) -> str:
    """``path`` relative to the working directory, if it is below it."""
    path = Path.cwd() / path
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
