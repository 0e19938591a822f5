"""Which packages an extra of this distribution brings, and how to install the one that is missing.

The registry installs without what serves a base, without a bucket's client and without PostgreSQL's. What is imported
all the same names the extra, by the distribution's own metadata: the list in pyproject.toml is the only one.
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
    """The distribution's requirements as its metadata has them; none where it runs without being installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def packages_of(extra: str, required: Sequence[str]) -> tuple[str, ...]:
    """The packages that ``extra`` brings, without versions, as ``required`` names them."""
    return tuple(name for name, its in map(_parsed, required) if its == extra)


def extra_of(module: str, required: Sequence[str]) -> str | None:
    """The extra that brings ``module``, if one does; its package must be named as the module is."""
    wanted = _normal(module.partition(".")[0])
    return next((extra for name, extra in map(_parsed, required) if extra and _normal(name) == wanted), None)


def missing_packages(extra: str) -> tuple[str, ...]:
    """The packages of ``extra`` that are not installed."""
    return tuple(name for name in packages_of(extra, requirements()) if not _installed(name))


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Around an import: ``ExtraMissing`` for a package that an extra brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "", requirements())
        if extra is None:
            raise
        raise ExtraMissing(missing(extra, [str(error.name)])) from error


def missing(extra: str, packages: Sequence[str]) -> str:
    """What to say where ``packages`` of ``extra`` are missing. pip asks no index for what is installed already."""
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
