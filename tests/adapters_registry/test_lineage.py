"""The graph of what was trained from what."""

from __future__ import annotations

import pytest

from adapters_registry import lineage
from adapters_registry.errors import VersionNotFound

ACME = ("acme", "support")
DATA = "sha256:" + "d" * 64


def shown(registry, digest: str, tenant: str | None = None) -> list[str]:
    """A line a node: whose, then what it came from, where that is shown too."""
    nodes = registry.lineage(digest, tenant).nodes
    names = {node.digest: f"{node.tenant}/{node.name}@{node.number}" for node in nodes}
    return [f"{names[node.digest]}{' gone' if node.deleted else ''} <- {names.get(node.parent)}" for node in nodes]


@pytest.fixture
def family(push) -> dict[str, str]:
    """Digests of root ← child ← (left, right ← last), and of one that is no relation."""
    digests: dict[str, str] = {}
    for number, (name, parent) in enumerate(
        [("root", None), ("child", "root"), ("left", "child"), ("right", "child"), ("last", "right"), ("other", None)]
    ):
        told = {} if parent is None else {"parent": digests[parent]}
        digests[name] = push(fill=(number + 1) / 16, lineage=told).record.digest
    return digests


WHOLE = [
    "acme/support@1 <- None",
    "acme/support@2 <- acme/support@1",
    "acme/support@3 <- acme/support@2",
    "acme/support@4 <- acme/support@2",
    "acme/support@5 <- acme/support@4",
]


def test_ancestors_and_descendants_but_no_cousins(registry, family):
    assert shown(registry, family["root"]) == WHOLE
    assert shown(registry, family["child"]) == WHOLE
    assert shown(registry, family["right"]) == [*WHOLE[:2], *WHOLE[3:]]
    assert shown(registry, family["last"]) == [*WHOLE[:2], *WHOLE[3:]]
    assert shown(registry, family["left"]) == WHOLE[:3]
    assert shown(registry, family["other"]) == ["acme/support@6 <- None"]


def test_a_deleted_version_is_still_part_of_the_graph(registry, family):
    registry.delete_version(*ACME, 2)
    assert shown(registry, family["last"], "acme")[1] == "acme/support@2 gone <- acme/support@1"
    assert shown(registry, family["child"])[1] == "acme/support@2 gone <- acme/support@1"


def test_nodes_tell_what_the_push_told(registry, push):
    told = {
        "parent": "not a digest",
        "data_digest": DATA,
        "metrics": {"loss": 0.5, "steps": 3, "note": "x", "b": True, "huge": 10**400},
    }
    digest = push(lineage=told).record.digest
    (node,) = registry.lineage(digest).nodes
    assert (node.parent, node.data_digest, node.metrics) == (None, DATA, {"loss": 0.5, "steps": 3.0})
    assert (node.aliases, node.deleted) == (("production",), False)
    assert registry.version(digest).lineage == told, "as it was told"


def test_what_a_tenant_may_not_know_ends_the_walk(registry, push):
    ours = push("acme/a", fill=0.1).record.digest
    theirs = push("globex/b", fill=0.2, lineage={"parent": ours}).record.digest
    last = push("acme/c", fill=0.3, lineage={"parent": theirs}).record.digest
    assert shown(registry, ours, "acme") == ["acme/a@1 <- None"]
    assert shown(registry, last, "acme") == ["acme/c@1 <- None"]
    assert registry.lineage(last, "acme").nodes[0].parent == theirs, "its own push told so"
    registry.share("globex", "b", "acme")
    whole = ["acme/a@1 <- None", "globex/b@1 <- acme/a@1", "acme/c@1 <- globex/b@1"]
    assert shown(registry, ours, "acme") == shown(registry, last) == whole
    with pytest.raises(VersionNotFound):
        registry.lineage(last, "globex")


def test_the_same_files_twice_are_two_nodes(registry, push):
    digest = push("acme/a").record.digest
    push("globex/a")
    assert [node.tenant for node in registry.lineage(digest).nodes] == ["acme", "globex"]
    assert [node.tenant for node in registry.lineage(digest, "globex").nodes] == ["globex"]


def test_a_claim_to_descend_from_itself_ends(registry, push):
    digest = push("acme/a", fill=0.1).record.digest
    push("acme/b", fill=0.1, lineage={"parent": digest})
    assert len(registry.lineage(digest).nodes) == 2


def test_a_large_graph_is_told_to_be_cut(registry, family, monkeypatch):
    monkeypatch.setattr(lineage, "NODES", 3)
    found = registry.lineage(family["last"])
    assert (len(found.nodes), found.complete) == (3, False)
    assert registry.lineage(family["other"]).complete
