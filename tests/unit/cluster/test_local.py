"""A whole cluster in one process: real threads, real directories, brokers that die."""

from __future__ import annotations

import threading

import pytest

import kstore
from kstore.cluster.local import LocalCluster
from kstore.errors import NotEnoughReplicas, NotLeader, RejectedError, UnknownTopicOrPartition
from kstore.replication.state import Rules, Sync

QUICK = Rules(fetch_timeout_ms=700, lag_time_max_ms=300, fetch_backoff_ms=20, proposal_timeout_ms=100)


@pytest.fixture
def paths(tmp_path):
    return [str(tmp_path / name) for name in "abc"]


def log_bytes(path, topic="orders", index=0):
    with kstore.open(path, read_only=True) as store:
        partition = store.partition(topic, index)
        return b"".join(bytes(s.read(0, s.size_bytes)) for s in partition.segments)


@pytest.mark.parametrize("sync", list(Sync))
def test_appends_are_on_every_replica_when_acknowledged(paths, sync):
    with LocalCluster(paths, rules=Rules(sync=sync)) as cluster:
        cluster.create_topic("orders", partitions=3)
        for number in range(30):
            cluster.append("orders", number % 3, [b"order %d" % number])
        ends = [b.replicas["orders", 0].partition.log_end_offset for b in cluster.brokers.values()]
        assert ends == [10, 10, 10]
    one, two, three = (log_bytes(path) for path in paths)
    assert one == two == three != b""


def test_the_leader_is_killed_and_nothing_acknowledged_is_lost(paths):
    with LocalCluster(paths, rules=QUICK, session_timeout_ms=300) as cluster:
        cluster.create_topic("orders", config={"min.insync.replicas": 2})
        sent = [b"order %d" % number for number in range(20)]
        for value in sent[:10]:
            cluster.append("orders", 0, [value])
        dead = cluster.leader("orders", 0)
        cluster.kill(dead)
        cluster.wait_for_leader("orders", 0, but=dead)
        for value in sent[10:]:
            cluster.append("orders", 0, [value])
        cluster.start(dead)
        assert cluster.controller.wait_for(lambda c: c.partitions["orders", 0].isr == (1, 2, 3))
        leader = cluster.wait_for_leader("orders", 0)
        assert [r.value for r in leader.replicas["orders", 0].read(0, now_ms=0)] == sent
    one, two, three = (log_bytes(path) for path in paths)
    assert one == two == three


def test_too_few_in_sync_refuse(paths):
    with LocalCluster(paths, rules=QUICK, session_timeout_ms=200) as cluster:
        cluster.create_topic("orders", config={"min.insync.replicas": 3})
        follower = next(b for b in cluster.brokers if b != cluster.leader("orders", 0))
        cluster.kill(follower)
        assert cluster.controller.wait_for(lambda c: len(c.partitions["orders", 0].isr) == 2)
        leader = cluster.wait_for_leader("orders", 0)
        with leader_metadata(cluster, leader), pytest.raises(NotEnoughReplicas):
            cluster.append("orders", 0, [b"x"])
        cluster.append("orders", 0, [b"x"], acks=1)


def leader_metadata(cluster, leader):
    """Entered once the leader has heard of the present assignment."""
    wanted = cluster.controller.cluster.partitions["orders", 0].partition_epoch
    with cluster.roles:
        assert cluster.roles.wait_for(
            lambda: leader.replicas["orders", 0].state.assignment.partition_epoch >= wanted, 10
        )
    return threading.Lock()


def test_a_leader_that_is_cut_off_acknowledges_nothing(paths):
    with LocalCluster(paths, rules=QUICK, session_timeout_ms=10_000) as cluster:
        cluster.create_topic("orders", config={"min.insync.replicas": 2})
        leader = cluster.leader("orders", 0)
        for other in cluster.brokers:
            if other != leader:
                cluster.cut(leader, other)
        with pytest.raises(RejectedError):
            cluster.append("orders", 0, [b"x"], timeout_ms=600)
        cluster.heal()
        assert cluster.controller.wait_for(lambda c: len(c.partitions["orders", 0].isr) == 3)
        with leader_metadata(cluster, cluster.wait_for_leader("orders", 0)):
            cluster.append("orders", 0, [b"y"])


def test_wrong_use_says_so(paths):
    with LocalCluster(paths[:1]) as cluster:
        with pytest.raises(UnknownTopicOrPartition):
            cluster.leader("nothing", 0)
        with pytest.raises(RejectedError, match="INVALID_REPLICATION_FACTOR"):
            cluster.create_topic("orders", replication_factor=3)
        cluster.create_topic("orders")
        cluster.create_topic("more")
        with pytest.raises(NotLeader):
            cluster.brokers[1].append(("orders", 9), lambda r: r.append([b"x"], now_ms=0), -1)


def test_a_cluster_stops_without_a_thread_left(paths):
    before = set(threading.enumerate())
    with LocalCluster(paths) as cluster:
        cluster.create_topic("orders")
        cluster.append("orders", 0, [b"x"])
    assert set(threading.enumerate()) <= before
