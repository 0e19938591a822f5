"""A life of a registry, operation by operation, and what of it can be seen from outside at any moment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_registry.access import Scope
from adapters_registry.blobs.intake import keep
from adapters_registry.errors import VersionDeleted, VersionNotFound
from adapters_registry.keys import Keys
from adapters_registry.kinds import judge
from adapters_registry.manifest import File
from adapters_registry.opening import open_registry
from adapters_registry.records import TenantBounds
from adapters_registry.registry import Origin, Registry
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts

LIMITS = Limits(grace_s=0)
_KEY_ID = re.compile(r"\b[a-z2-7]{12}\b")
CONFIG = json.dumps(artifacts.config()).encode()
WEIGHTS = [artifacts.pack(artifacts.tensors((1 + number) / 8)) for number in range(6)]

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Store:
    """An open registry and its keys."""

    registry: Registry
    keys: Keys


@dataclass(frozen=True, slots=True)
class Operation:
    """One request's worth: acknowledged when ``call`` returns."""

    name: str
    call: Callable[[Store], object]


@contextmanager
def opened(directory: Path) -> Iterator[Store]:
    """Artifacts are checked in this process: the check changes no file."""
    with open_registry(directory, LIMITS, lambda: None) as registry:
        registry._check = judge
        yield Store(registry, Keys(registry.metadata))


def upload(tenant: str, data: bytes) -> Operation:
    """In two parts, as after a connection that broke; from where an earlier life came to, if it came further."""

    def call(store: Store) -> None:
        staging, digest = store.registry.staging, artifacts.sha256(data)
        first = staging.begin(tenant, digest, len(data))
        first.write(data[: len(data) // 2])
        first.park()
        there = staging.partial(tenant, digest)
        assert there is not None
        second = staging.resume(tenant, digest, there.size, len(data))
        second.write(data[there.size :])
        keep(second, staging, store.registry.blobs, store.registry.uploaded)

    return Operation(f"upload {tenant} {artifacts.sha256(data)[7:15]}", call)


def publish(tenant: str, name: str, number: int, **origin: Any) -> Operation:
    weights = WEIGHTS[number]
    files = [
        File(path="adapter_config.json", digest=artifacts.sha256(CONFIG), size=len(CONFIG)),
        File(path="adapter_model.safetensors", digest=artifacts.sha256(weights), size=len(weights)),
    ]
    return Operation(
        f"publish {tenant}/{name} {number}",
        lambda store: store.registry.publish(tenant, name, files, Origin(**origin)),
    )


def verb(method: str, *arguments: Any, **named: Any) -> Operation:
    return Operation(f"{method} {arguments}", lambda store: getattr(store.registry, method)(*arguments, **named))


def key_id(store: Store, name: str) -> str:
    """Of the newest that is called so."""
    return [key.id for key in store.keys.list() if key.name == name and key.revoked_at is None][-1]


ACME = ("acme", "support")
OPERATIONS = [
    verb("put_base", artifacts.base()),
    upload("acme", CONFIG),
    upload("acme", WEIGHTS[0]),
    publish(*ACME, 0),
    upload("acme", WEIGHTS[1]),
    publish(*ACME, 1),
    verb("move_alias", *ACME, "production", 2, 1),
    verb("rollback", *ACME, "production", 2),
    verb("move_alias", *ACME, "canary", 2, 0),
    Operation("create operator", lambda store: store.keys.create(None, "operator", [Scope.ADMIN])),
    Operation("create reader", lambda store: store.keys.create("acme", "reader", [Scope.ADAPTER_READ])),
    Operation("rotate reader", lambda store: store.keys.rotate(key_id(store, "reader"), 60)),
    Operation("revoke reader", lambda store: store.keys.revoke(key_id(store, "reader"))),
    verb("share", *ACME, "globex"),
    verb("evaluate", *ACME, 2, "safety", True, {"score": 0.5}),
    verb("protect_alias", *ACME, "canary", True, "safety"),
    upload("globex", CONFIG),
    upload("globex", WEIGHTS[2]),
    publish("globex", "own", 2),
    upload("acme", WEIGHTS[3]),
    publish(*ACME, 3, promote=True),
    verb("rollback", *ACME),
    verb("delete_version", *ACME, 3),
    verb("unshare", *ACME, "globex"),
    verb("delete_alias", *ACME, "canary", 1),
    verb("put_tenant", "acme", TenantBounds(max_bytes=1 << 30, keep_versions=1)),
    verb("delete_adapter", "globex", "own"),
    verb("collect", grace_s=0),
    upload("acme", WEIGHTS[4]),
    publish(*ACME, 4, promote=True),
    upload("globex", CONFIG),
    upload("globex", WEIGHTS[5]),
    publish("globex", "own", 5),
    verb("collect", grace_s=0),
]


def state(store: Store) -> State:
    """Everything that can be seen, without times and random names."""
    registry = store.registry
    return {
        "adapters": [
            {
                "name": f"{record.tenant}/{record.name}",
                "versions": [(version.number, version.digest) for version in record.versions],
                "aliases": [(a.alias, a.version, a.generation, a.protected, a.requires) for a in record.aliases],
                "shared": record.shared_with,
            }
            for record in registry.snapshot().adapters
        ],
        "digests": {digest: _standing(registry, digest) for digest in _published(registry)},
        "keys": sorted(
            (key.name, str(key.tenant), key.scopes, key.expires_at is not None, key.revoked_at is not None)
            for key in store.keys.list()
        ),
        "tenants": [tenant.model_dump(exclude={"created_at"}) for tenant in registry.tenants()],
        "held": [
            (tenant.name, artifacts.sha256(data)[7:15])
            for tenant in registry.tenants()
            for data in (CONFIG, *WEIGHTS)
            if registry.holds(tenant.name, artifacts.sha256(data))
        ],
        "audit": _audit(registry),
    }


def _published(registry: Registry) -> list[str]:
    """Digests of all versions there ever were."""
    found = {json.loads(entry.detail or "{}").get("digest") for entry in registry.audit().entries}
    return sorted(found - {None})


def _standing(registry: Registry, digest: str) -> str:
    try:
        return f"evaluated {[(e.name, e.passed) for e in registry.version(digest).evaluations]}"
    except VersionDeleted:
        return "deleted"
    except VersionNotFound:
        return "not found"


def _audit(registry: Registry) -> list[str]:
    lines = "\n".join(
        f"{entry.actor} {entry.action} {entry.subject} {entry.alias} {entry.detail}"
        for entry in registry.audit().entries
    )
    ids: dict[str, str] = {}
    return _KEY_ID.sub(lambda match: ids.setdefault(match[0], f"key{len(ids)}"), lines).splitlines()
