"""Moving a partition to other replicas, and calling it off.

Owns the answers of Kafka's ReplicationControlManager.alterPartitionReassignments (KIP-455). The move goes on by itself:
whatever change finds all that stay in sync completes it. Called by `machine.step`.

Invariants
1. Nothing changes when the request is refused.
2. Calling off never loses a leader, nor committed records, unless the topic's rules allow unclean elections.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.replication.controller.change import Wish, change
from kstore.replication.controller.cluster import Changes, Cluster, TopicPartition
from kstore.replication.controller.commands import Answer, Reassign
from kstore.replication.controller.controller import Controller
from kstore.replication.controller.replicas import Moving, moving, towards
from kstore.replication.controller.topics import invalid_replicas
from kstore.replication.state import NO_LEADER


def on_reassign(state: Controller, command: Reassign, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Begin, redirect or cancel a move. One that needs nobody new to catch up is complete at once."""
    key = command.topic, command.index
    if key not in state.cluster.partitions:
        return state, Answer(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {command.topic}-{command.index}"), ()
    if command.replicas is None:
        return _cancelled(state, key)
    if reason := invalid_replicas(state.cluster, command.replicas):
        return state, Answer(Code.INVALID_REPLICA_ASSIGNMENT, reason), ()
    lists = towards(moving(state.cluster.partitions[key]), command.replicas)
    changes: Changes = change(state.cluster, key, Wish(moving=lists))
    return state.after(changes), Answer(), changes


def _cancelled(state: Controller, key: TopicPartition) -> tuple[Controller, Answer, Changes]:
    """Back to the replicas before the move (PartitionReassignmentRevert).

    The ISR may have none of them left but in the ELR, or not even there: then only an unclean election goes back.
    """
    known = state.cluster.partitions[key]
    lists = moving(known)
    if not lists.is_moving:
        return state, Answer(Code.NO_REASSIGNMENT_IN_PROGRESS), ()
    isr = tuple(r for r in known.isr if r not in lists.adding)
    changes = change(state.cluster, key, Wish(isr=isr, moving=Moving(lists.original)))
    lost = any(c.assignment.leader == NO_LEADER for c in changes)
    if lost and known.leader != NO_LEADER:
        reason = "none of the original replicas is in sync or eligible: only an unclean election could go back to them"
        return state, Answer(Code.INVALID_REPLICA_ASSIGNMENT, reason), ()
    return state.after(changes), Answer(), changes


def reassigning(cluster: Cluster) -> tuple[TopicPartition, ...]:
    """The partitions that are on the move (ListPartitionReassignments)."""
    return tuple(key for key, assignment in cluster.partitions.items() if moving(assignment).is_moving)
