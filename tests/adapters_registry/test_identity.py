"""A version's digest is that of its manifest's stored bytes, whatever release reads it; readers ignore additions."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError

from adapters_registry import records
from adapters_registry.access import Scope
from adapters_registry.capabilities import WORDS
from adapters_registry.client import AsyncRegistryClient, RegistryClient
from adapters_registry.kinds import ArtifactFile, judge
from adapters_registry.manifest import BaseManifest, LoraManifest, LoraModule, Manifest, stored_manifest
from adapters_registry.records import Changes, KeyGrant, Published, Quotas, Snapshot
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits
from adapters_registry.shapes import shapes
from adapters_registry.tables import versions
from adapters_registry.verify import verify
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

FIRST = "sha256:8835a52326a3a41380ee306cfd0680b2db89117e88bd70b0abc90ba1beb6f851"
"""Of ``artifacts.manifest()`` as the first release wrote it."""
NEWER = {"quantised": {"bits": 4, "scales": [1e-7, 2.0, 3]}, "note": None}
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class NewerModule(LoraModule):
    """A module in a release to come."""

    gain: float | None = None


class NewerManifest(LoraManifest):
    """A manifest in a release to come."""

    modules: tuple[NewerModule, ...]
    quantised: dict[str, Any] | None = None


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def newer_text(text: str) -> str:
    """The manifest ``text`` as a release to come writes it: more fields, at every depth."""
    told = json.loads(text)
    for value in (told, *told["files"], *told["modules"]):
        value |= NEWER
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def grown(value: Any) -> Any:
    """``value`` with a field of a newer writer in each object that is a record."""
    if isinstance(value, BaseModel):
        return {name: grown(getattr(value, name)) for name in type(value).model_fields} | {"newer": [{"x": 1}]}
    if isinstance(value, tuple | list):
        return [grown(one) for one in value]
    if isinstance(value, dict):
        return {name: grown(one) for name, one in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


def first_text() -> str:
    """``artifacts.manifest()`` as the first release wrote it."""
    (module,), (file,) = artifacts.manifest().modules, artifacts.manifest().files
    names = {"a": module.tensors["a"], "b": module.tensors["b"], "b_bias": None, "bias": None}
    told = {
        "format": 1,
        "kind": "lora",
        "base": artifacts.base().digest,
        "rank": 2,
        "dtype": "float32",
        "files": [file.model_dump()],
        "modules": [{"module": artifacts.Q0, "rank": 2, "scale": 2.0} | names],
    }
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def test_a_manifest_of_format_1_keeps_its_digest_and_says_the_same():
    assert sha256(first_text()) == FIRST
    read, ours = stored_manifest(first_text()), artifacts.manifest()
    assert isinstance(read, LoraManifest)
    assert (read.digest, read.canonical_json().decode()) == (FIRST, first_text())
    assert (read.modules, read.files, read.rank, read.needs) == (ours.modules, ours.files, ours.rank, ours.needs)
    assert json.loads(read.model_dump_json()) == json.loads(first_text()), "it is sent as it is stored"


def test_a_manifest_can_be_written_in_format_1_while_that_can_say_it():
    manifest = artifacts.manifest()
    earlier = manifest.in_format_1()
    assert earlier is not None
    assert earlier.canonical_json().decode() == first_text()
    assert earlier.modules == manifest.modules
    for role in ("b_bias", "bias"):
        biased = manifest.model_copy(update={"modules": (artifacts.lora(artifacts.Q0, **{role: "t"}),)})
        assert (told := biased.in_format_1()) is not None
        assert json.loads(told.canonical_json())["modules"][0][role] == "t"
        assert stored_manifest(told.canonical_json().decode()).modules == biased.modules
    beyond: tuple[dict[str, Any], ...] = (
        {"modules": (artifacts.lora(artifacts.Q0, magnitude="m"),)},
        {"needs": ("lora.activated",)},
        {"modules": (NewerModule(**dict(artifacts.lora(artifacts.Q0)), gain=2.0),)},
    )
    for change in beyond:
        assert manifest.model_copy(update=change).in_format_1() is None


def test_a_release_of_format_1_can_read_what_it_will_not_serve():
    """It refuses a later format by name, once it has read the fields that its own manifests have."""
    told = json.loads(artifacts.manifest().canonical_json())
    assert told["format"] == 2
    assert {"kind", "base", "rank", "dtype", "files", "modules"} <= told.keys()
    assert all({"module", "rank", "scale"} <= module.keys() for module in told["modules"])


def test_a_kind_or_a_format_of_a_newer_release_is_read_as_far_as_it_is_known():
    text = artifacts.manifest().canonical_json().decode()
    kind = stored_manifest(text.replace('"kind":"lora"', '"kind":"ia3"').removesuffix(',"rank":2}') + "}")
    assert (type(kind), kind.kind, kind.rank) == (Manifest, "ia3", 0)
    assert kind.modules[0].tensors == artifacts.manifest().modules[0].tensors
    later = stored_manifest(text.replace('"format":2', '"format":3').replace('"tensors"', '"parts"'))
    assert (type(later), later.format, later.modules) == (Manifest, 3, ())
    with pytest.raises(ValidationError):
        stored_manifest(text.replace('"tensors"', '"parts"'))


def test_the_manifest_in_the_documentation_is_one():
    page = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text()
    told = json.loads(page.split("```json")[1].split("```")[0])
    read = LoraManifest.model_validate_json(json.dumps(told))
    assert json.loads(read.model_copy(update={"rank": 8}).canonical_json()) == told, "as this release writes it"
    for role in shapes("lora", artifacts.lora(artifacts.Q0, b_bias="", bias=""), artifacts.base()):
        assert f"| `{role}` |" in page
    for name in (*WORDS, "runs", "not_runnable"):
        assert f"`{name}`" in page


def test_a_field_that_a_later_release_adds_changes_no_digest():
    manifest = artifacts.manifest()
    text = manifest.canonical_json().decode()
    assert NewerManifest.model_validate_json(text).digest == manifest.digest
    anew = NewerManifest(
        base=manifest.base,
        rank=manifest.rank,
        dtype=manifest.dtype,
        files=manifest.files,
        modules=tuple(NewerModule(**dict(module)) for module in manifest.modules),
    )
    assert anew.digest == manifest.digest, "the same files would be another version in each release"
    assert anew.model_copy(update={"quantised": {"bits": 4}}).digest != manifest.digest


def test_what_a_newer_release_wrote_keeps_its_bytes():
    text = newer_text(artifacts.manifest().canonical_json().decode())
    read = stored_manifest(text)
    assert read.digest == sha256(text) != artifacts.manifest().digest
    assert read.canonical_json() == text.encode()
    for other in (
        LoraManifest.model_validate_json(read.model_dump_json()),
        copy.deepcopy(read),
        pickle.loads(pickle.dumps(read)),
        read.model_copy(),
    ):
        assert other.canonical_json() == text.encode()
        assert other == read
    assert read.model_copy(update={"rank": 3}).digest != read.digest


def test_the_bytes_are_what_counts_and_not_what_they_mean():
    text = artifacts.manifest().canonical_json().decode()
    assert stored_manifest(text.replace(":", ": ", 1)).digest != artifacts.manifest().digest


def test_a_version_of_a_newer_release_is_listed_verified_and_pulled(
    registry: Registry, client: RegistryClient, push: Callable[..., Published], tmp_path: Path
):
    published = push()
    digest = written_by_a_newer_release(registry, published.record.digest)

    detail = client.version(digest)
    assert detail.manifest.digest == digest
    assert json.loads(detail.manifest.canonical_json())["quantised"] == NEWER["quantised"]
    assert client.resolve("acme", "support").digest == digest
    assert verify(registry).problems == ()
    client.pull(detail.manifest, tmp_path / "pulled")
    assert sorted(path.name for path in (tmp_path / "pulled").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_manifest_that_was_changed_is_found(registry: Registry, push: Callable[..., Published]):
    digest = push().record.digest
    with registry.metadata.writing() as rows:
        changed = newer_text(registry.version(digest).manifest.canonical_json().decode())
        rows.versions._db.execute(versions.update().values(manifest=changed))
    (problem,) = verify(registry).problems
    assert f"instead of {digest}" in problem


def test_the_check_gives_the_bytes_that_are_stored(tmp_path: Path):
    """The check runs in a process of its own: its answer crosses as JSON."""
    folder = artifacts.folder(tmp_path / "adapter")
    files = [ArtifactFile(file, (folder / file.path).open("rb").__enter__) for file in artifacts.files(folder)]
    found = judge(artifacts.base(), files, Limits(rank=8))
    crossed = type(found).model_validate_json(found.model_dump_json())
    assert crossed.manifest.canonical_json() == found.manifest.canonical_json()


def test_a_revocation_by_a_newer_registry_is_heard():
    grant = KeyGrant(
        id="aaaaaaaaaaaa",
        tenant="acme",
        name="ci",
        scopes=(Scope.INFER,),
        quotas=Quotas(concurrent=2),
        created_at=MOMENT,
        secret_hash="0" * 64,
    )
    told = grown(grant)
    told["scopes"] = ["infer", "dream"]
    body = {"seq": 7, "adapters": [], "keys": [told], "newer": {}}
    changes = Changes.model_validate_json(json.dumps(body))
    assert changes.keys == (grant,)
    assert Snapshot.model_validate_json(json.dumps(body)).keys == (grant,)


def test_every_answer_is_read_with_fields_of_a_newer_registry(registry: Registry, push: Callable[..., Published]):
    digest = push().record.digest
    registry.evaluate("acme", "support", 1, "safety", True, {"accuracy": 0.5})
    told: list[BaseModel] = [
        registry.version(digest),
        registry.page(),
        registry.snapshot(),
        registry.changes(0),
        registry.lineage(digest),
        registry.bases()[0],
        registry.base(artifacts.base().digest),
        registry.tenant("acme"),
        registry.audit(),
        registry.verify_audit(),
    ]
    for value in told:
        if isinstance(value, records.VersionDetail):
            continue  # its manifest keeps what it does not know: shown above
        assert type(value).model_validate_json(json.dumps(grown(value))) == value


def test_what_is_sent_to_the_registry_is_read_strictly(url: str):
    body = {"name": "ci", "scopes": ["infer"], "quotas": {"concurrent": 1, "newer": 1}}
    answer = httpx.post(f"{url}/v1/keys", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "quotas.newer")
    answer = httpx.put(f"{url}/v1/tenants/acme", json={"max_bytes": 1, "newer": 1})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "newer")


def test_a_base_that_a_newer_service_announces_is_known_as_far_as_it_can_be(client: RegistryClient, url: str):
    base = artifacts.base(name="newer", mark="e")
    told = grown(base)
    told["modules"]["model.experts"] = grown(base.modules["lm_head"]) | {"type": "experts"}
    answer = httpx.put(f"{url}/v1/bases/{base.digest}", json=told)
    assert answer.status_code == 204, answer.text
    known = BaseManifest.model_validate(httpx.get(f"{url}/v1/bases/{base.digest}").json())
    assert known.modules["model.experts"].type == "experts"
    assert known.modules[artifacts.Q0] == base.modules[artifacts.Q0]


def written_by_a_newer_release(registry: Registry, digest: str) -> str:
    """Makes the version ``digest`` one that a release to come wrote; its digest."""
    text = newer_text(registry.version(digest).manifest.canonical_json().decode())
    with registry.metadata.writing() as rows:
        rows.versions._db.execute(
            versions.update().where(versions.c.digest == digest).values(manifest=text, digest=sha256(text))
        )
    return sha256(text)


async def test_a_base_is_announced_to_a_registry_of_the_first_release_without_what_that_refuses():
    taken: list[dict[str, Any]] = []
    app = FastAPI()

    @app.put("/v1/bases/{sha256}")
    async def put_base(sha256: str, request: Request) -> Response:
        body = await request.json()
        if "runs" in body or any("weight" in module for module in body["modules"].values()):
            error = {
                "message": "there is no such parameter",
                "code": "unknown_parameter",
                "param": "modules.lm_head.weight",
            }
            return Response(json.dumps({"error": error}), 400)
        taken.append(body)
        return Response(status_code=204)

    with serving(app) as url:
        async with AsyncRegistryClient(url) as client:
            await client.put_base(artifacts.base().model_copy(update={"runs": ("lora",)}))
    (body,) = taken
    assert body.keys() == set(BaseManifest.model_fields) - {"runs"}
    assert BaseManifest.model_validate(body).modules.keys() == artifacts.base().modules.keys()
