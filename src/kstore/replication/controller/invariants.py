"""The invariants of the controller's state, checked after every step in production too.

Owns what must hold of a cluster by itself and of a step from one to the next; the numbers are those of `cluster`'s
header and of docs/replication/controller.md. Called by `machine.step`, by whoever replays stored changes, and by the
model checker. A broken one means that kstore is wrong: the step is not taken.
"""

from __future__ import annotations

from typing import NoReturn

from kstore.errors import InvariantError
from kstore.replication.controller.cluster import (
    BrokerChanged,
    BrokerRegistered,
    BrokerUnregistered,
    Change,
    Cluster,
    PartitionChanged,
    TopicPartition,
)
from kstore.replication.state import NO_LEADER, Assignment


def check(before: Cluster, after: Cluster, changes: tuple[Change, ...]) -> None:
    """Raise `InvariantError`, naming the invariant, where a step must not be taken."""
    brokers_moved = False
    previous: dict[TopicPartition, Assignment | None] = {}
    for change in changes:
        if isinstance(change, PartitionChanged):
            key = change.topic, change.index
            was = previous[key] if key in previous else before.partitions.get(key)
            if was is not None:
                _check_step(key, was, change.assignment)
            previous[key] = change.assignment
        elif isinstance(change, BrokerRegistered | BrokerChanged | BrokerUnregistered):
            brokers_moved = True
    if after.next_broker_epoch < before.next_broker_epoch:
        _broken("C5", f"the next broker epoch fell from {before.next_broker_epoch} to {after.next_broker_epoch}")
    for key in after.partitions if brokers_moved else previous:
        _check_partition(after, key)


def check_cluster(cluster: Cluster) -> None:
    """Check a cluster by itself, as found in a store."""
    for key in cluster.partitions:
        _check_partition(cluster, key)


def _check_partition(cluster: Cluster, key: TopicPartition) -> None:
    known = cluster.partitions.get(key)
    if known is None:
        return
    replicas = set(known.replicas)
    for name in ("isr", "elr", "adding", "removing"):
        members = getattr(known, name)
        if not replicas.issuperset(members) or list(members) != sorted(set(members)):
            _broken("C1", f"{name} is a sorted subset of the replicas", key, known)
    if not replicas or len(replicas) < len(known.replicas) or set(known.isr) & set(known.elr):
        _broken("C1", "replicas are there, each once, in the ISR or in the ELR", key, known)
    if (known.leader not in known.isr) if known.isr else (known.leader != NO_LEADER):
        _broken("C2", "the leader is in the ISR, and there is one while that has members", key, known)
    for member in known.isr:
        if not cluster.is_active(member):
            _broken("C3", f"ISR member {member} is not active", key, known)
    if known.elr and len(known.isr) >= cluster.topics[key[0]].min_isr(known.replicas):
        _broken("C4", "an ISR that is large enough leaves nobody in the ELR", key, known)


def _check_step(key: TopicPartition, was: Assignment, now: Assignment) -> None:
    if now.partition_epoch != was.partition_epoch + 1:
        _broken("C5", f"the partition epoch was {was.partition_epoch}", key, now)
    uncleanly = now.unclean_epoch != was.unclean_epoch
    bumped = uncleanly or now.leader != was.leader or not set(was.replicas) <= set(now.replicas)
    if now.leader_epoch != was.leader_epoch + bumped:
        _broken("C6", f"the leader epoch was {was.leader_epoch}, of leader {was.leader}", key, now)
    if uncleanly:
        if now.unclean_epoch != now.leader_epoch or not now.recovering or now.elr or now.isr != (now.leader,):
            _broken("C7", "who is elected uncleanly is alone and recovering", key, now)
    elif now.leader not in (NO_LEADER, was.leader) and not _is_clean(was, now):
        _broken("C7", f"leader {now.leader} was elected from outside {was.isr} and {was.elr}", key, now)


def _is_clean(was: Assignment, now: Assignment) -> bool:
    """From the ISR; from the ELR where that is empty; from the new ISR where a reassignment has removed the leader."""
    if now.leader in was.isr or (now.leader in was.elr and now.isr == (now.leader,)):
        return True
    return was.leader != NO_LEADER and was.leader not in now.replicas


def _broken(invariant: str, what: str, key: TopicPartition = ("", -1), known: Assignment | None = None) -> NoReturn:
    where = "the controller" if known is None else f"{key[0]}-{key[1]} with {known}"
    raise InvariantError(f"{invariant}: {what}; {where}")
