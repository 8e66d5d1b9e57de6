"""AlterPartition: what a leader proposes as its ISR, checked against everything that may have happened meanwhile.

Owns the validation of Kafka's ReplicationControlManager.validateAlterPartitionData, in its order. It must not know how
the change is computed, which is `change`'s. Called by `machine.step`.

Invariants
1. Only the current leader, in its current life and epoch, building on the newest partition epoch, changes the ISR.
2. Whoever enters the ISR is active, and in the life that the leader has seen (KIP-841, KIP-903).
3. A proposal that is what made the present state is answered with success again, and changes nothing.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.replication.controller.change import Wish, change
from kstore.replication.controller.cluster import Changes, Cluster, PartitionChanged, TopicPartition
from kstore.replication.controller.commands import AlterPartition, Answer, PartitionAnswer, ResignLeader
from kstore.replication.controller.controller import Controller
from kstore.replication.state import NO_EPOCH, Assignment
from kstore.replication.values import replace


def on_alter(state: Controller, command: AlterPartition, now_ms: int) -> tuple[Controller, PartitionAnswer, Changes]:
    """Take or refuse a proposal.

    One that completes a reassignment and with it moves the leader is answered NEW_LEADER_ELECTED, and is done.
    """
    key = command.topic, command.index
    known = state.cluster.partitions.get(key)
    code = refusal(state.cluster, command, known)
    if code is not Code.NONE:
        return state, PartitionAnswer(code, command.leader_epoch, command.partition_epoch), ()
    changes: Changes = ()
    if not _is_repeat(command, known):
        wish = Wish(isr=tuple(member for member, _ in command.isr), recovering=command.recovering)
        changes = change(state.cluster, key, wish) or confirmed(state.cluster, key)
        state = state.after(changes)
    after = state.cluster.partitions[key]
    if after.leader != command.broker_id:
        code, answered = Code.NEW_LEADER_ELECTED, None
    else:
        answered = after
    return state, PartitionAnswer(code, command.leader_epoch, command.partition_epoch, answered), changes


def confirmed(cluster: Cluster, key: TopicPartition) -> Changes:
    """The partition as it is, with a new partition epoch: what was proposed on top of the old one can win no more.

    A leader asks for the ISR that it has when another proposal was refused, of which copies may be under way. Kafka
    answers with success and leaves the epoch, so that such a copy may be taken when the leader has given it up.
    """
    known = cluster.partitions[key]
    return (PartitionChanged(*key, replace(known, partition_epoch=known.partition_epoch + 1)),)


def refusal(cluster: Cluster, command: AlterPartition, known: Assignment | None) -> Code:
    """Why a proposal is not taken, or NONE. An epoch above ours says that we are no longer the controller."""
    if not cluster.is_current(command.broker_id, command.broker_epoch):
        return Code.STALE_BROKER_EPOCH
    if known is None:
        return Code.UNKNOWN_TOPIC_OR_PARTITION
    if command.leader_epoch > known.leader_epoch or command.partition_epoch > known.partition_epoch:
        return Code.NOT_CONTROLLER
    if command.leader_epoch < known.leader_epoch:
        return Code.FENCED_LEADER_EPOCH
    if command.broker_id != known.leader:
        return Code.INVALID_REQUEST
    if _is_repeat(command, known):
        return Code.NONE
    if command.partition_epoch < known.partition_epoch:
        return Code.INVALID_UPDATE_VERSION
    return _isr_refusal(cluster, command, known)


def _isr_refusal(cluster: Cluster, command: AlterPartition, known: Assignment) -> Code:
    members = [member for member, _ in command.isr]
    if command.broker_id not in members or len(set(members)) < len(members):
        return Code.INVALID_REQUEST
    if not set(members) <= set(known.replicas):
        return Code.INVALID_REQUEST
    if command.recovering and (len(members) > 1 or not known.recovering):
        # others may join only once the leader has said what it holds; and nobody goes back to recovering
        return Code.INVALID_REQUEST
    for member, epoch in command.isr:
        if not _may_join(cluster, known, member, epoch):
            return Code.INELIGIBLE_REPLICA
    return Code.NONE


def _may_join(cluster: Cluster, known: Assignment, member: int, epoch: int) -> bool:
    """Active and in the life that the leader has seen.

    An unknown epoch does for a member that is in already: a new life would have taken it out. Kafka lets it pass for
    newcomers too, for the sake of old brokers; then one that has lost its log could slip in.
    """
    if not cluster.is_active(member):
        return False
    if epoch == NO_EPOCH:
        return member in known.isr
    return cluster.is_current(member, epoch)


def _is_repeat(command: AlterPartition, known: Assignment | None) -> bool:
    """Whether this is the proposal that made the present state: its answer was lost, and the leader asks again.

    The old controller in ZooKeeper mode knew this (equalsAllowStalePartitionEpoch), without the limit to one step
    back: with it nothing else can have happened in between that the leader has not heard of.
    """
    return (
        known is not None
        and command.partition_epoch + 1 == known.partition_epoch
        and command.recovering == known.recovering
        and tuple(sorted(member for member, _ in command.isr)) == known.isr
    )


def on_resign(state: Controller, command: ResignLeader, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """A leader that cannot serve gives up the lead and leaves the ISR.

    One that may have lost records leaves the ELR too: where nobody else holds everything committed, the partition waits
    rather than forgets. One whose disk only refuses to write stays eligible, as in Kafka (handleDirectoriesOffline): it
    may lead again once nobody better is left and its disk is well.
    """
    cluster = state.cluster
    known = cluster.partitions.get((command.topic, command.index))
    code = Code.NONE
    if not cluster.is_current(command.broker_id, command.broker_epoch):
        code = Code.STALE_BROKER_EPOCH
    elif known is None:
        code = Code.UNKNOWN_TOPIC_OR_PARTITION
    elif command.leader_epoch > known.leader_epoch:
        code = Code.NOT_CONTROLLER
    elif command.leader_epoch < known.leader_epoch:
        code = Code.FENCED_LEADER_EPOCH
    elif command.broker_id != known.leader:
        code = Code.INVALID_REQUEST
    if code is not Code.NONE or known is None:
        return state, Answer(code), ()

    def acceptable(replica: int) -> bool:
        return replica != command.broker_id and cluster.is_active(replica)

    isr = tuple(r for r in known.isr if r != command.broker_id)
    wish = Wish(isr=isr, lost=frozenset({command.broker_id} if command.lost else ()))
    changes: Changes = change(cluster, (command.topic, command.index), wish, acceptable)
    return state.after(changes), Answer(), changes
