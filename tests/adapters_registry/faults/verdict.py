"""What must hold of a registry's directory after its process ended anywhere, or the power went."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from adapters_registry.blobs import Staging
from tests.adapters_registry import artifacts
from tests.adapters_registry.faults.script import CONFIG, LIMITS, OPERATIONS, WEIGHTS, State, Store, opened, state

OURS = re.compile(
    r"registry\.(lock|db|db-journal)|blobs/sha256/([0-9a-f]{2})/\2[0-9a-f]{62}|staging/[a-z]+/[0-9a-f]{64}\.[0-9a-f]{16}"
)
GOES_ON = 4
"""Operations afterwards, which find what they would have found without the kill."""


def reference(directory: Path) -> list[State]:
    """What is seen before the first operation, and after each."""
    with opened(directory) as store:
        states = [state(store)]
        for operation in OPERATIONS:
            operation.call(store)
            states.append(state(store))
    return states


def check(directory: Path, done: int, states: Sequence[State]) -> int:
    """All that was acknowledged (``done`` operations) is there, the next one wholly or not at all, and nothing else;
    the registry goes on from there. How many operations were found done."""
    _check_names(directory)
    with opened(directory) as store:
        found = _comparable(state(store))
        allowed = [_comparable(one) for one in states[done : done + 2]]
        assert found in allowed, _difference(found, allowed)
        store.registry.verify_audit()
        _check_blobs(store)
        _check_staging(store, directory)
        went_on = done + len(allowed) - 1 - allowed[::-1].index(found)
        goes_on = min(went_on + GOES_ON, len(OPERATIONS))
        for operation in OPERATIONS[went_on:goes_on]:
            operation.call(store)
        last, wanted = _comparable(state(store)), _comparable(states[goes_on])
        assert last == wanted, _difference(last, [wanted])
        _check_blobs(store)
    assert not list(Staging(directory / "staging", LIMITS, clock=lambda: 1e11)._root.rglob("*.*")), "all expired"
    _check_names(directory)
    return went_on


def _comparable(found: State) -> State:
    """A collection that was killed leaves what it condemned to a later one, for minutes: their counts differ."""
    return found | {"audit": [entry for entry in found["audit"] if " blobs.delete " not in entry]}


def _check_names(directory: Path) -> None:
    """No file that nobody knows."""
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        assert path.is_dir() or OURS.fullmatch(name), name


def _check_blobs(store: Store) -> None:
    """Every blob is whole, and those of live versions and of leases are there."""
    registry = store.registry
    stored = {blob.digest for blob in registry.blobs.stored()}
    for digest in stored:
        with registry.blobs.open(digest) as file:
            assert artifacts.sha256(file.read()) == digest, "half a blob is visible"
    for adapter in registry.snapshot().adapters:
        for version in adapter.versions:
            for one in registry.version(version.digest).manifest.files:
                assert one.digest in stored, f"{adapter.tenant}/{adapter.name}@{version.number} lost {one.path}"
    for tenant in registry.tenants():
        for data in (CONFIG, *WEIGHTS):
            if registry.holds(tenant.name, artifacts.sha256(data)):
                assert artifacts.sha256(data) in stored, "an acknowledged upload is lost"


def _check_staging(store: Store, directory: Path) -> None:
    """What lies there is on the books, for whoever continues."""
    files = [path for path in (directory / "staging").rglob("*") if path.is_file()]
    assert len(files) <= 1, "one upload was under way at most"
    for path in files:
        partial = store.registry.staging.partial(path.parent.name, f"sha256:{path.name.partition('.')[0]}")
        assert partial is not None
        assert partial.size == path.stat().st_size


def _difference(found: State, allowed: Sequence[State]) -> str:
    return "\n".join(
        f"{name}: {json.dumps(found[name])}\n not {json.dumps(other[name])}"
        for other in allowed
        for name in found
        if found[name] != other[name]
    )
