"""Ranking: home first while it has room, little moves when replicas come and go."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from service.dispatch.fleet import Fleet
from service.dispatch.router import BALANCE, SLACK, ReplicaView, rank

loads = st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 200), min_size=1, max_size=12)
digests = st.integers(0, 10_000).map("sha256:{:064x}".format)


def views(loads: dict[str, int]) -> list[ReplicaView]:
    return [ReplicaView(id, load) for id, load in loads.items()]


@given(loads, digests, st.randoms())
def test_ranks_each_replica_once_whatever_the_order_given(loads, digest, random) -> None:  # type: ignore[no-untyped-def]
    replicas = views(loads)
    ranked = rank(replicas, digest)
    assert sorted(ranked, key=lambda r: r.id) == sorted(replicas, key=lambda r: r.id)
    random.shuffle(replicas)
    assert rank(replicas, digest) == ranked


@given(loads, digests)
def test_the_first_has_room(loads: dict[str, int], digest: str) -> None:
    bound = max(SLACK, math.ceil(BALANCE * (sum(loads.values()) + 1) / len(loads)))
    assert rank(views(loads), digest)[0].load < bound


@given(st.sets(st.text("abcdef", min_size=1, max_size=6), min_size=2, max_size=12), digests, st.data())
def test_a_replica_that_leaves_moves_only_its_own(ids: set[str], digest: str, data: st.DataObject) -> None:
    idle = [ReplicaView(id, 0) for id in sorted(ids)]
    gone = data.draw(st.sampled_from(idle))
    before = rank(idle, digest)
    assert rank([replica for replica in idle if replica != gone], digest) == [r for r in before if r != gone]


def test_digests_spread_over_idle_replicas() -> None:
    idle = [ReplicaView(f"replica{i}", 0) for i in range(4)]
    homes = [rank(idle, f"sha256:{i:064x}")[0].id for i in range(4000)]
    counts = {id: homes.count(id) for id in set(homes)}
    assert len(counts) == 4
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_one_hot_digest_spreads_over_all_replicas() -> None:
    load = {"a": 0, "b": 0, "c": 0}
    for _ in range(60):
        load[rank(views(load), "sha256:" + "f" * 64)[0].id] += 1
    assert max(load.values()) <= math.ceil(BALANCE * 60 / 3) + 1
    assert min(load.values()) > 0


def test_no_replica_no_rank() -> None:
    assert rank([], "sha256:" + "0" * 64) == []


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def fleet_changed(self, replicas: frozenset[str]) -> None:
        self.lines.append(f"fleet {sorted(replicas)}")

    def request_routed(self, request_id: str, replica_id: str) -> None:
        self.lines.append(f"{request_id} -> {replica_id}")


def test_a_listener_hears_the_present_and_what_follows() -> None:
    fleet, heard = Fleet(), Heard()
    fleet.changed(frozenset({"a"}))
    fleet.listen(heard)
    fleet.routed("r1", "a")
    fleet.changed(frozenset({"a", "b"}))
    assert heard.lines == ["fleet ['a']", "r1 -> a", "fleet ['a', 'b']"]
