"""What one change makes of a partition: ISR, ELR, leader and epochs together.

Owns the order of Kafka's PartitionChangeBuilder.build: complete a reassignment, keep the ELR, elect, bump epochs; and
its generateLeaderAndIsrUpdates, the same over all partitions that a broker's coming or going touches. It must not know
commands. Called by every other module that changes a partition.

Invariants
1. The leader epoch rises exactly when the leader changes or a replica is removed; not when the ISR shrinks, which Kafka
   before 3.6 needed because of KAFKA-15021.
2. The partition epoch rises by one with every change; no change, no new assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kstore.replication.controller import eligible
from kstore.replication.controller.cluster import Cluster, PartitionChanged, TopicPartition, TopicRules
from kstore.replication.controller.election import Acceptable, Field, elect
from kstore.replication.controller.replicas import Moving, completed, moving
from kstore.replication.state import Assignment
from kstore.replication.values import replace


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a partition; None leaves a field as it is."""

    isr: tuple[int, ...] | None = None
    moving: Moving | None = None
    recovering: bool | None = None
    lost: frozenset[int] = frozenset()
    """Replicas that may have lost records: they are not eligible."""
    preferred: bool = False


NOTHING = Wish()
"""Only an election where there is no leader."""


def altered(before: Assignment, wish: Wish, rules: TopicRules, acceptable: Acceptable) -> Assignment | None:
    """The assignment after a change, None where nothing changes."""
    lists = moving(before) if wish.moving is None else wish.moving
    isr = before.isr if wish.isr is None else tuple(sorted(wish.isr))
    done = completed(lists, isr)
    if done is not None:
        lists, isr = done
    minimum = rules.min_isr(lists.replicas)
    elr = eligible.eligible(before, isr, lists.replicas, minimum, wish.lost)
    field = Field(lists.replicas, isr, elr)
    leader, unclean = elect(before, field, acceptable, rules.unclean, wish.preferred)
    recovering = before.recovering if wish.recovering is None else wish.recovering
    if unclean:
        isr, elr, recovering = (leader,), (), True
    elif leader in elr:
        # a minimum that has become smaller may make the new leader enough by itself: then it commits without the others
        isr, elr = (leader,), eligible.eligible(before, (leader,), lists.replicas, minimum, wish.lost)
    bumped = unclean or leader != before.leader or not set(before.replicas) <= set(lists.replicas)
    leader_epoch = before.leader_epoch + 1 if bumped else before.leader_epoch
    after = Assignment(
        leader,
        leader_epoch,
        before.partition_epoch,
        lists.replicas,
        isr,
        lists.adding,
        lists.removing,
        elr,
        eligible.last_known(before, leader, isr, lists.replicas),
        recovering,
        leader_epoch if unclean else before.unclean_epoch,
    )
    return None if after == before else replace(after, partition_epoch=before.partition_epoch + 1)


def change(
    cluster: Cluster, key: TopicPartition, wish: Wish, acceptable: Acceptable | None = None
) -> tuple[PartitionChanged, ...]:
    """The change of one partition, in a tuple, or none."""
    topic, index = key
    rules = cluster.topics[topic]
    after = altered(cluster.partitions[key], wish, rules, cluster.is_active if acceptable is None else acceptable)
    return () if after is None else (PartitionChanged(topic, index, after),)


# -- a broker comes or goes --------------------------------------------------------------------------------------


def departures(cluster: Cluster, broker_id: int, lost: bool) -> tuple[PartitionChanged, ...]:
    """A broker leaves every ISR and leads nothing; when it may have `lost` records, it leaves every ELR too."""
    gone = frozenset({broker_id}) if lost else frozenset()

    def touched(assignment: Assignment) -> bool:
        return broker_id in assignment.isr or (lost and broker_id in assignment.elr)

    def acceptable(replica: int) -> bool:
        return replica != broker_id and cluster.is_active(replica)

    changes: tuple[PartitionChanged, ...] = ()
    for key in _keys(cluster, touched):
        isr = tuple(r for r in cluster.partitions[key].isr if r != broker_id)
        changes += change(cluster, key, Wish(isr=isr, lost=gone), acceptable)
    return changes


def arrivals(cluster: Cluster, broker_id: int) -> tuple[PartitionChanged, ...]:
    """A broker becomes active: partitions without a leader may have one now (handleBrokerUnfenced)."""

    def acceptable(replica: int) -> bool:
        return replica == broker_id or cluster.is_active(replica)

    changes: tuple[PartitionChanged, ...] = ()
    for key in _keys(cluster, lambda assignment: not assignment.isr):
        changes += change(cluster, key, NOTHING, acceptable)
    return changes


def _keys(cluster: Cluster, touched: Callable[[Assignment], bool]) -> Iterable[TopicPartition]:
    return [key for key, assignment in cluster.partitions.items() if touched(assignment)]
