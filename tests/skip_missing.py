"""A plugin of pytest (``-p tests.skip_missing``): what needs a package of the serving stack is skipped without it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import pytest

NAMES = ("datasets", "peft", "ray", "torch", "transformers", "trl")


class SkipMissing(MetaPathFinder):
    """Skips the module, or the test, that imports one of ``NAMES``."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in NAMES and PathFinder.find_spec(name) is None:
            pytest.skip(f"needs {name}, which is not installed", allow_module_level=True)
        return None


sys.meta_path.insert(0, SkipMissing())
