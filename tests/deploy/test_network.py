"""The NetworkPolicies as a whole: who may reach which port, worked out as a cluster would."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.deploy.manifests import OVERLAYS, Manifest, of_kind, pods, render

PARTS = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Peer:
    """A pod that wants to connect."""

    labels: dict[str, str]
    namespace: dict[str, str] | None = None
    """The labels of its namespace; None is ours."""


@dataclass(frozen=True)
class World:
    manifests: list[Manifest] = field(repr=False)

    def ours(self, component: str) -> Peer:
        return Peer(pods(self.manifests)[component].labels)

    def may_reach(self, peer: Peer, component: str, port: str) -> bool:
        """Ingress only: the policies that select ``component``'s pods, any of whose rules admits the peer."""
        target = pods(self.manifests)[component].labels
        chosen = [
            p["spec"] for p in of_kind(self.manifests, "NetworkPolicy") if _selects(p["spec"]["podSelector"], target)
        ]
        ingress = [policy for policy in chosen if "Ingress" in policy["policyTypes"]]
        assert ingress, f"no policy holds for {component}: everything would be admitted"
        return any(_admits(rule, peer, port) for policy in ingress for rule in policy.get("ingress", []))


@pytest.fixture(params=OVERLAYS)
def world(request: pytest.FixtureRequest) -> World:
    return World(render(request.param))


API = {"quickchange-access": "api"}
OPERATOR = {"quickchange-access": "registry"}


def test_only_labelled_clients_reach_the_gateway(world: World) -> None:
    assert world.may_reach(Peer(API, API), "gateway", "serve")
    assert not world.may_reach(Peer({}, API), "gateway", "serve")
    assert not world.may_reach(Peer(API, {}), "gateway", "serve")
    assert not world.may_reach(Peer(OPERATOR, OPERATOR), "gateway", "serve")
    assert not world.may_reach(Peer(API, API), "gateway", "agent")


def test_only_our_own_and_operators_reach_the_registry(world: World) -> None:
    for component in ("gateway", "engine"):
        assert world.may_reach(world.ours(component), "registry", "http")
    assert world.may_reach(Peer(OPERATOR, OPERATOR), "registry", "http")
    assert not world.may_reach(Peer(API, API), "registry", "http")
    assert not world.may_reach(Peer(OPERATOR, {}), "registry", "http")
    assert not world.may_reach(Peer({}), "registry", "http")


def test_rays_pods_reach_each_other_and_nobody_else_reaches_them(world: World) -> None:
    ray = ("head", "gateway", "engine")
    for one in ray:
        for other in ray:
            assert world.may_reach(world.ours(one), other, "agent")
        for stranger in (Peer(API, API), Peer(OPERATOR, OPERATOR), Peer({}), world.ours("registry")):
            assert not world.may_reach(stranger, one, "agent")
            assert not world.may_reach(stranger, one, "dashboard")


def test_kuberay_reaches_the_head_alone(world: World) -> None:
    operator = Peer({"app.kubernetes.io/name": "kuberay-operator"}, {})
    assert world.may_reach(operator, "head", "dashboard")
    assert not world.may_reach(operator, "head", "client")
    assert not world.may_reach(operator, "engine", "agent")


def test_nothing_leaves_but_names_and_our_own(world: World) -> None:
    egress = [p["spec"] for p in of_kind(world.manifests, "NetworkPolicy") if "Egress" in p["spec"]["policyTypes"]]
    assert any(policy["podSelector"] == {} and "egress" not in policy for policy in egress)
    peers = [peer for policy in egress for rule in policy.get("egress", []) for peer in rule["to"]]
    assert all("ipBlock" not in peer and ("podSelector" in peer or "namespaceSelector" in peer) for peer in peers)


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    known = {"matchLabels", "matchExpressions"}
    assert set(selector) <= known
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    within = [
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []) if e["operator"] == "In"
    ]
    assert len(within) == len(selector.get("matchExpressions", []))
    return equal and all(within)


def _admits(rule: Manifest, peer: Peer, port: str) -> bool:
    ports = rule.get("ports")
    if ports is not None and port not in [entry["port"] for entry in ports]:
        return False
    return any(_is(entry, peer) for entry in rule["from"])


def _is(entry: Manifest, peer: Peer) -> bool:
    if "namespaceSelector" in entry:
        # A peer in our own namespace would need its labels too, and ours has none of these.
        in_namespace = _selects(entry["namespaceSelector"], peer.namespace or {})
    else:
        in_namespace = peer.namespace is None
    return in_namespace and _selects(entry.get("podSelector", {}), peer.labels)
