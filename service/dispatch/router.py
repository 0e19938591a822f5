"""Routes a request to the replica that has its adapter, unless that replica is full."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ray.serve.request_router import (
    PendingRequest,
    ReplicaID,
    ReplicaResult,
    RequestRouter,
    RunningReplica,
)

from service.dispatch import fleet

BALANCE = 1.25
"""A replica is full when its load is this many times the mean."""
SLACK = 4
"""Load below which a replica is never full: an engine batches, so keeping an adapter in one place matters more."""
DIRECT = "replica:"
"""A session id with this prefix names the one replica that must take the call."""


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica, as far as ranking needs it."""

    id: str
    load: int
    """Its running requests, as known to this process."""


def rank(replicas: Sequence[ReplicaView], digest: str) -> list[ReplicaView]:
    """Replicas in the order to try for ``digest``: rendezvous hashing with bounded load.

    Each digest has its own order of the replicas, which is stable when replicas are added or removed (Thaler and
    Ravishankar 1998). A replica over ``BALANCE`` times the mean load comes after the others (Mirrokni et al. 2018),
    so that requests of one popular adapter are spread instead of queued.
    """
    if not replicas:
        return []
    mean = (sum(replica.load for replica in replicas) + 1) / len(replicas)
    bound = max(SLACK, math.ceil(BALANCE * mean))
    return sorted(replicas, key=lambda replica: (replica.load >= bound, -_weight(replica.id, digest)))


def _weight(replica_id: str, digest: str) -> int:
    key = f"{replica_id}\0{digest}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


class DigestRouter(RequestRouter):
    """Routes by the session id: an adapter's digest, or ``replica:<id>``.

    Serve pickles this module by value, including the objects that it names. So the state of the process must be in
    another module: ``fleet.FLEET``.

    Serve's mixins are not used: they assign one request's replica to another request, or keep finished requests.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        await asyncio.sleep(0)  # so that the request routed before this one is sent and counted first
        by_id = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        session = pending_request.metadata.session_id
        if session.startswith(DIRECT):
            only = by_id.get(session.removeprefix(DIRECT))
            return [[only]] if only is not None else []
        ranked = rank([ReplicaView(id, self._load(replica)) for id, replica in by_id.items()], session)
        return [[by_id[view.id]] for view in ranked]

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._report()

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._report()

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        if pending_request.metadata.call_method == "run":
            fleet.FLEET.routed(pending_request.args[0].request_id, replica_id.unique_id)

    def _report(self) -> None:
        fleet.FLEET.changed(frozenset(replica.unique_id for replica in self.curr_replicas))

    def _load(self, replica: RunningReplica) -> int:
        return self.replica_queue_len_cache.get(replica.replica_id) or 0
