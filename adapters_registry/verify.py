"""Reads all data of a registry and compares it with its digests: ``python -m adapters_registry.verify``.

It takes the same options and variables as the registry, which must not run on that data directory meanwhile: after
a restore, before the start.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from adapters_registry.errors import RegistryError
from adapters_registry.folder import PIECE_BYTES
from adapters_registry.opening import open_registry
from adapters_registry.records import AdapterRecord
from adapters_registry.registry import Registry
from adapters_registry.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read."""

    versions: int
    blobs: int
    audit_entries: int
    problems: tuple[str, ...]
    """One line per item that differs from what was written."""


def verify(registry: Registry) -> Verified:
    """Checks every version's manifest, each of their blobs once, and the chain of the audit log."""
    names: dict[str, str] = {}
    problems, wanted, versions = [], set[str](), 0
    for record in _adapters(registry):
        for version in record.versions:
            versions += 1
            names[version.digest] = f"{record.tenant}/{record.name}@{version.number}"
    for digest, name in names.items():
        manifest = registry.version(digest).manifest
        if manifest.digest != digest:
            problems.append(f"{name}: its manifest is {manifest.digest} instead of {digest}")
        wanted |= {file.digest for file in manifest.files}
    problems += [f"{digest}: {why}" for digest in sorted(wanted) if (why := _damage(registry, digest))]
    entries = 0
    try:
        entries = registry.verify_audit().entries
    except RegistryError as error:
        problems.append(error.message)
    return Verified(versions, len(wanted), entries, tuple(problems))


def _adapters(registry: Registry) -> Iterator[AdapterRecord]:
    after: str | None = None
    while True:
        page = registry.page(after=after)
        yield from page.adapters
        after = page.next
        if after is None:
            return


def _damage(registry: Registry, digest: str) -> str | None:
    hashed = hashlib.sha256()
    try:
        with registry.blobs.open(digest) as file:
            while piece := file.read(PIECE_BYTES):
                hashed.update(piece)
    except RegistryError as error:
        return error.message
    found = f"sha256:{hashed.hexdigest()}"
    return None if found == digest else f"its bytes are {found}"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 all data is as it was written, 1 something differs, 2 wrong usage."""
    options: dict[str, Any] = {"_cli_parse_args": sys.argv[1:] if arguments is None else arguments}
    try:
        settings = RegistrySettings(
            _cli_prog_name="python -m adapters_registry.verify", _cli_kebab_case=True, **options
        )
    except ValidationError as error:
        first = error.errors()[0]
        print(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    url = None if settings.database_url is None else settings.database_url.get_secret_value()
    try:
        with open_registry(
            settings.data_dir, settings.limits, lambda: None, database_url=url, blobs_url=settings.blobs_url
        ) as registry:
            found = verify(registry)
    except RegistryError as error:
        print(error.message, file=sys.stderr)
        return 1
    for problem in found.problems:
        print(problem, file=sys.stderr)
    print(f"{found.versions} versions, {found.blobs} blobs, {found.audit_entries} audit entries read")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
