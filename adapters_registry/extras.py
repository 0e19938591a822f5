"""The packages of each extra of this distribution, and the command that installs a missing one.

Serving a base, a bucket and PostgreSQL need packages that the registry is installed without. When the import of one
of them fails, the error names the extra, from the distribution's metadata: the only list is in pyproject.toml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata

from adapters_registry.errors import ExtraMissing

DISTRIBUTION = "quickchange"
_REQUIREMENT = re.compile(r"""\s*([A-Za-z0-9._-]+).*?(?:;.*\bextra\s*==\s*["']([^"']+)["'].*)?""", re.DOTALL)


def requirements() -> list[str]:
    """The requirements in the distribution's metadata; empty if it runs without being installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def packages_of(extra: str, required: Sequence[str]) -> tuple[str, ...]:
    """The packages of ``extra`` according to ``required``, without versions."""
    return tuple(name for name, its in map(_parsed, required) if its == extra)


def extra_of(module: str, required: Sequence[str]) -> str | None:
    """The extra that has the package ``module``; None if there is none. The package must have the module's name."""
    wanted = _normal(module.partition(".")[0])
    return next((extra for name, extra in map(_parsed, required) if extra and _normal(name) == wanted), None)


def missing_packages(extra: str) -> tuple[str, ...]:
    """The packages of ``extra`` that are not installed."""
    return tuple(name for name in packages_of(extra, requirements()) if not _installed(name))


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """For imports within the block: raises ``ExtraMissing`` if a package of an extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "", requirements())
        if extra is None:
            raise
        raise ExtraMissing(missing(extra, [str(error.name)])) from error


def missing(extra: str, packages: Sequence[str]) -> str:
    """The message if ``packages`` of ``extra`` are missing. pip skips packages that are installed already."""
    return f"not installed: {', '.join(packages)}. Install the extra {extra}: pip install '{DISTRIBUTION}[{extra}]'"


def _parsed(requirement: str) -> tuple[str, str | None]:
    found = _REQUIREMENT.fullmatch(requirement)
    assert found is not None, requirement
    return found[1], found[2]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
