"""Which replica a consumer should read from: its own rack's, if one there is good enough (KIP-392).

Owns the choice of Kafka's RackAwareReplicaSelector and the candidates that a leader offers it
(ReplicaManager.findPreferredReadReplica). It must not know how consumers ask, or where racks are kept. Called by
whoever answers a consumer's fetch at a leader.

Invariants
1. Whoever is chosen is the leader, or in sync and alive, and holds the offset that is read.
2. Among several the one with the longest log, then the one that was caught up last, then the lowest id is chosen: the
   same state gives the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kstore.replication.leading import Leader


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that could serve a read (Kafka's ReplicaView)."""

    broker_id: int
    rack: str | None
    log_end_offset: int
    caught_up_ms: int
    """When it last held everything that the leader held."""


def candidates(state: Leader, offset: int, racks: Mapping[int, str], now_ms: int) -> tuple[Candidate, ...]:
    """Who could serve a read from `offset`, the leader first.

    Followers must be in the ISR, alive, and hold `offset`: their log start is not above it, and their log end reaches
    it. `racks` maps broker ids to racks; who is not in it has none.
    """
    local = state.local
    alive = {broker for broker, _ in state.eligible}
    offered = [Candidate(state.id, racks.get(state.id), local.log_end_offset, now_ms)]
    for p in state.followers:
        holds = 0 <= p.log_start_offset <= offset <= p.log_end_offset
        if holds and p.follower in alive and p.follower in state.assignment.isr:
            offered.append(Candidate(p.follower, racks.get(p.follower), p.log_end_offset, p.caught_up_ms))
    return tuple(offered)


def choose(leader_id: int, offered: tuple[Candidate, ...], rack: str | None) -> int:
    """The broker id to read from: the leader, unless only others are in the consumer's `rack`.

    A leader in the rack is preferred over everybody, as in Kafka; one without a rack to compare serves itself.
    """
    near = [c for c in offered if rack and c.rack == rack]
    if not near or any(c.broker_id == leader_id for c in near):
        return leader_id
    return max(near, key=lambda c: (c.log_end_offset, c.caught_up_ms, -c.broker_id)).broker_id


def preferred_read_replica(
    state: Leader, offset: int, rack: str | None, racks: Mapping[int, str], now_ms: int
) -> int | None:
    """Whom a consumer in `rack` that reads from `offset` should ask instead of this leader; None for nobody.

    A leader that has resigned names nobody: it does not know any more who is in sync.
    """
    if not rack or state.resignation is not None:
        return None
    chosen = choose(state.id, candidates(state, offset, racks, now_ms), rack)
    return None if chosen == state.id else chosen
