"""From what a leader asks to what the controller is asked, and back.

Owns the translation between `replication.effects` and `controller.commands`, and between the controller's answers and
`replication.events`. It decides nothing. Called by whoever carries them from one to the other: the wire to the
controller, the simulator, the model checker.
"""

from __future__ import annotations

from kstore.replication.controller.cluster import Cluster, TopicPartition
from kstore.replication.controller.commands import AlterPartition, PartitionAnswer, ResignLeader
from kstore.replication.effects import ProposeIsr, Resign
from kstore.replication.events import BrokersChanged, ProposalAnswered


def alter_partition(sender: tuple[int, int], partition: TopicPartition, effect: ProposeIsr) -> AlterPartition:
    """What the leader `sender`, its id and broker epoch, asks with `effect`."""
    epochs = effect.leader_epoch, effect.partition_epoch
    return AlterPartition(*sender, *partition, *epochs, effect.isr, effect.recovering)


def resign_leader(sender: tuple[int, int], partition: TopicPartition, effect: Resign) -> ResignLeader:
    """What the leader `sender`, its id and broker epoch, asks with `effect`."""
    return ResignLeader(*sender, *partition, effect.leader_epoch, effect.lost)


def answered(reply: PartitionAnswer) -> ProposalAnswered:
    """What the leader hears of its proposal."""
    return ProposalAnswered(reply.code, reply.leader_epoch, reply.partition_epoch, reply.assignment)


def brokers_changed(cluster: Cluster) -> BrokersChanged:
    """What leaders hear when brokers come or go."""
    return BrokersChanged(cluster.eligible())
