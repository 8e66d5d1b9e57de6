"""Elections that are asked for: by an operator, or by the wish to give partitions back to their preferred leaders.

Owns the answers of Kafka's ReplicationControlManager.electLeader and maybeBalancePartitionLeaders. Who wins is
`election`'s. Called by `machine.step`.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.replication.controller.change import Wish, altered, change
from kstore.replication.controller.cluster import Changes, PartitionChanged, Unclean
from kstore.replication.controller.commands import Answer, BalanceLeaders, Election, ElectLeader
from kstore.replication.controller.controller import Controller
from kstore.replication.state import NO_LEADER
from kstore.replication.values import replace

PREFERRED = Wish(preferred=True)


def on_elect(state: Controller, command: ElectLeader, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Elect one partition's leader; ELECTION_NOT_NEEDED where the wanted one leads, or where any does (unclean)."""
    cluster = state.cluster
    key = command.topic, command.index
    known = cluster.partitions.get(key)
    if known is None:
        return state, Answer(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {command.topic}-{command.index}"), ()
    if command.election is Election.PREFERRED:
        needed, unavailable = known.leader != known.replicas[0], Code.PREFERRED_LEADER_NOT_AVAILABLE
        changes: Changes = change(cluster, key, PREFERRED) if needed else ()
    else:
        needed, unavailable = known.leader == NO_LEADER, Code.ELIGIBLE_LEADERS_NOT_AVAILABLE
        rules = replace(cluster.topics[command.topic], unclean=Unclean.ANY)
        after = altered(known, Wish(), rules, cluster.is_active) if needed else None
        changes = () if after is None else (PartitionChanged(*key, after),)
    if not needed:
        return state, Answer(Code.ELECTION_NOT_NEEDED), ()
    return state.after(changes), Answer(Code.NONE if changes else unavailable), changes


def on_balance(state: Controller, command: BalanceLeaders, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Elect the preferred leader wherever another one leads and the preferred one is in sync."""
    changes: Changes = ()
    for key, assignment in state.cluster.partitions.items():
        if len(changes) >= command.elections_max:
            break
        if assignment.leader != assignment.replicas[0]:
            changes += change(state.cluster, key, PREFERRED)
    return state.after(changes), Answer(), changes
