"""Topics: making, growing, deleting, rules. Kafka's ReplicationControlManager.createTopics and createPartitions."""

from __future__ import annotations

import pytest

from kstore.errors import InvalidConfig
from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import TopicRules
from kstore.replication.state import Assignment
from support.clusters import TOPIC, Clusters


def create(clusters: Clusters, **fields) -> cmd.Answer:
    return clusters.do(cmd.CreateTopic(TOPIC, **fields))


def test_a_topic_is_placed_over_the_racks():
    clusters = Clusters(brokers=6, racks=("a", "b", "c"))
    assert create(clusters, partitions=12, replication_factor=3, seed=4).code is Code.NONE
    assert len(clusters.cluster.partitions) == 12
    for known in clusters.cluster.partitions.values():
        assert {(r - 1) % 3 for r in known.replicas} == {0, 1, 2}
        assert known == Assignment(known.replicas[0], 0, 0, known.replicas, tuple(sorted(known.replicas)))


def test_a_topic_is_made_as_given_and_led_by_the_first_that_is_alive():
    clusters = Clusters()
    clusters.fence(2)
    assert create(clusters, assignments=((2, 3, 1), (1, 2, 3))).code is Code.NONE
    assert clusters.partition(index=0) == Assignment(3, 0, 0, (2, 3, 1), (1, 3))
    assert clusters.partition(index=1) == Assignment(1, 0, 0, (1, 2, 3), (1, 3))


def test_fenced_brokers_get_replicas_last_and_those_that_shut_down_none():
    clusters = Clusters(brokers=4)
    clusters.topic(4, name="other")
    clusters.beat(4, want_shut_down=True)
    clusters.fence(2)
    create(clusters, partitions=10, replication_factor=3)
    for index in range(10):
        known = clusters.partition(index=index)
        assert (set(known.replicas), known.replicas[2], known.isr) == ({1, 2, 3}, 2, (1, 3))
    clusters.do(cmd.DeleteTopic(TOPIC))
    assert create(clusters, replication_factor=4).code is Code.INVALID_REPLICATION_FACTOR


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (Code.INVALID_PARTITIONS, {"partitions": 0}),
        (Code.INVALID_PARTITIONS, {"assignments": ()}),
        (Code.INVALID_REPLICATION_FACTOR, {"replication_factor": 0}),
        (Code.INVALID_REPLICATION_FACTOR, {"replication_factor": 5}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((),)}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((1, 1),)}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((1, 7),)}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((1, 2), (1,))}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((1, 2), (4,))}),
        (Code.INVALID_REPLICA_ASSIGNMENT, {"assignments": ((1,), (4,))}),
    ],
)
def test_what_makes_no_topic(code, fields):
    clusters = Clusters(brokers=4)
    clusters.fence(4)
    reply = create(clusters, **fields)
    assert reply.code is code
    assert reply.message
    assert clusters.changes == ()


def test_no_topic_without_a_broker_that_is_alive():
    clusters = Clusters()
    clusters.fence(1, 2, 3)
    assert create(clusters).code is Code.INVALID_REPLICATION_FACTOR


def test_a_topic_is_made_once_and_anew_after_its_end():
    clusters = Clusters()
    create(clusters, partitions=2)
    assert create(clusters).code is Code.TOPIC_ALREADY_EXISTS
    assert clusters.do(cmd.DeleteTopic(TOPIC)).code is Code.NONE
    assert len(clusters.cluster.partitions) == len(clusters.cluster.topics) == 0
    assert clusters.do(cmd.DeleteTopic(TOPIC)).code is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert create(clusters).code is Code.NONE
    assert len(clusters.cluster.partitions) == 1


def test_a_topic_grows():
    clusters = Clusters()
    create(clusters, partitions=2, replication_factor=2)
    before = clusters.partition(index=1)
    assert clusters.do(cmd.CreatePartitions(TOPIC, 4)).code is Code.NONE
    assert clusters.cluster.indexes_of(TOPIC) == (0, 1, 2, 3)
    assert clusters.partition(index=1) == before
    assert len(clusters.partition(index=3).replicas) == 2
    assert clusters.do(cmd.CreatePartitions(TOPIC, 5, ((3, 1),))).code is Code.NONE
    assert clusters.partition(index=4).replicas == (3, 1)


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (Code.UNKNOWN_TOPIC_OR_PARTITION, cmd.CreatePartitions("other", 3)),
        (Code.INVALID_PARTITIONS, cmd.CreatePartitions(TOPIC, 2)),
        (Code.INVALID_PARTITIONS, cmd.CreatePartitions(TOPIC, 1)),
        (Code.INVALID_REPLICA_ASSIGNMENT, cmd.CreatePartitions(TOPIC, 4, ((1, 2),))),
        (Code.INVALID_REPLICA_ASSIGNMENT, cmd.CreatePartitions(TOPIC, 3, ((1,),))),
        (Code.INVALID_REPLICA_ASSIGNMENT, cmd.CreatePartitions(TOPIC, 3, ((1, 8),))),
        (Code.UNKNOWN_TOPIC_OR_PARTITION, cmd.SetTopicRules("other", TopicRules())),
    ],
)
def test_what_does_not_grow(code, command):
    clusters = Clusters()
    create(clusters, partitions=2, replication_factor=2)
    assert clusters.do(command).code is code
    assert clusters.changes == ()


def test_the_same_rules_again_change_nothing():
    clusters = Clusters()
    create(clusters, rules=TopicRules(2))
    assert clusters.do(cmd.SetTopicRules(TOPIC, TopicRules(2))).code is Code.NONE
    assert clusters.changes == ()


def test_rules_that_make_no_sense():
    with pytest.raises(InvalidConfig):
        TopicRules(min_insync_replicas=0)
