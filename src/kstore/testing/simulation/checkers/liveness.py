"""Progress once nothing is wrong any more: I23, and that everything comes to rest equal: I5, I17.

Verified, in a phase of its own after healing: within 10 simulated seconds every partition commits a new write of a new
producer; within a minute every replica is in sync again and every log equal to its leader's; consumers have seen all of
it; the producers' histories fit the final log. Excused: a partition whose surviving eligible replicas are damaged or
have lost what only a mode without fsync would have kept; it must have no leader, rather than forget. Not verified:
progress while faults last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from kstore.replication.state import NO_LEADER
from kstore.testing.simulation.checkers.base import Violation
from kstore.testing.simulation.clients import Producer
from kstore.testing.simulation.copies import faults_aside

if TYPE_CHECKING:
    from kstore.testing.simulation.cluster import SimCluster

COMMIT_WITHIN_US = 10_000_000
REST_WITHIN_US = 60_000_000


def _broken(cluster: SimCluster, invariant: str, what: str) -> NoReturn:
    cluster.world.tell("judge", "BROKEN", f"{invariant}: {what}")
    raise Violation(invariant, what, cluster.world.now_us)


def check_boot(cluster: SimCluster) -> None:
    """An undisturbed cluster comes up, every partition with a leader."""
    for key in cluster.options.keys:
        assignment = cluster.assignment(key)
        if assignment is None or assignment.leader == NO_LEADER:
            _broken(cluster, "I23", f"{key} has no leader after an undisturbed start")


def check(cluster: SimCluster) -> None:
    """The whole liveness phase."""
    world = cluster.world
    probes: dict[str, Producer] = {}
    start_us = world.now_us
    for number, key in enumerate(cluster.options.keys, 91):
        probe = Producer(cluster, f"p{number}", key, acks=-1, idempotent=False, retries=1000)
        probe.produce(1, 0)
        probes[key] = probe
    world.run_until(start_us + COMMIT_WITHIN_US, lambda: all(probe.is_idle for probe in probes.values()))
    waiting = [key for key, probe in probes.items() if not probe.is_idle]
    for key in waiting:
        if not _is_excused(cluster, key):
            _broken(cluster, "I23", f"{key} commits nothing {COMMIT_WITHIN_US // 1_000_000} s after healing: "
                                    f"{describe(cluster, key)}")
    keys = [key for key in cluster.options.keys if key not in waiting]
    limit_us = start_us + REST_WITHIN_US
    world.run_until(limit_us, lambda: _is_at_rest(cluster, keys))
    if not _is_at_rest(cluster, keys):
        restless = [describe(cluster, key) for key in keys if not _is_settled(cluster, key)]
        restless += [f"{p.name} still sends" for p in cluster.producers.values() if p.key in keys and not p.is_idle]
        _broken(cluster, "I23", f"not at rest {REST_WITHIN_US // 1_000_000} s after healing: {'; '.join(restless)}")
    for key in keys:
        _judge_partition(cluster, key)


def _is_excused(cluster: SimCluster, key: str) -> bool:
    """Nobody leads, and whoever might has lost what no replication could keep."""
    assignment = cluster.assignment(key)
    if assignment is None or assignment.leader != NO_LEADER:
        return False
    return key in cluster.judge.agreement.excused or any(
        cluster.judge.copy(member, key).is_damaged for member in assignment.replicas
    )


def describe(cluster: SimCluster, key: str) -> str:
    """A partition's state in a line."""
    assignment = cluster.assignment(key)
    copies = []
    for number, node in cluster.nodes.items():
        copy = cluster.judge.copies.get((number, key))
        if copy is not None and assignment is not None and number in assignment.replicas:
            role = "" if (replica := node.replicas.get(key)) is None else type(replica.state).__name__.lower()
            copies.append(f"{copy} hw {copy.high_watermark} {role}{'' if node.running else ' down'}")
    return f"{key}: {assignment}; {', '.join(copies)}"


def _is_settled(cluster: SimCluster, key: str) -> bool:
    assignment = cluster.assignment(key)
    if assignment is None or assignment.leader == NO_LEADER or assignment.adding or assignment.removing:
        return False
    leader = cluster.judge.copy(assignment.leader, key)
    for member in assignment.replicas:
        copy = cluster.judge.copy(member, key)
        if copy.is_damaged:
            continue
        if member not in assignment.isr or copy.log_end_offset != leader.log_end_offset:
            return False
        if copy.high_watermark != leader.log_end_offset:
            return False
    return True


def _is_at_rest(cluster: SimCluster, keys: list[str]) -> bool:
    return (
        all(_is_settled(cluster, key) for key in keys)
        and all(producer.is_idle for producer in cluster.producers.values() if producer.key in keys)
        and all(
            consumer.position >= cluster.judge.agreement.truth(consumer.key).end or _is_rotten(cluster, consumer.key)
            for consumer in cluster.consumers.values()
            if consumer.key in keys
        )
    )


def _is_rotten(cluster: SimCluster, key: str) -> bool:
    """Whether bits were flipped at whoever leads: consumers may have to wait until somebody finds out."""
    assignment = cluster.assignment(key)
    return assignment is not None and cluster.judge.copy(assignment.leader, key).is_damaged


def _judge_partition(cluster: SimCluster, key: str) -> None:
    assignment = cluster.assignment(key)
    assert assignment is not None
    whole = [m for m in (assignment.leader, *assignment.isr) if not cluster.judge.copy(m, key).is_damaged]
    if not whole:
        return
    leader = cluster.nodes[whole[0]]
    ours = cluster.judge.copy(leader.id, key)
    for member in assignment.replicas:
        copy = cluster.judge.copy(member, key)
        start = max(copy.log_start_offset, ours.log_start_offset)
        mine, theirs = ours.batches[ours.index_of(start) :], copy.batches[copy.index_of(start) :]
        if mine != theirs and not copy.is_damaged:
            _broken(cluster, "I5", f"{key}: b{member} and b{leader.id} differ at rest")
    view = leader.replicas[key].partition.log.view
    pieces: list[bytes] = []
    offset = view.log_start_offset
    with faults_aside(leader.disk):
        while offset < view.log_end_offset:
            found = view.read(offset, 1 << 20, view.log_end_offset)
            pieces.append(bytes(found.buffer))
            offset = found.next_offset
    history = cluster.judge.history
    history.judge_log(key, pieces, view.log_start_offset)
    for consumer in cluster.consumers.values():
        if consumer.key == key and not _is_rotten(cluster, key):
            history.check_consumed(consumer.name, key, consumer.position, view.log_end_offset)
