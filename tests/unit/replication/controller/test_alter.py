"""AlterPartition: every answer of Kafka's ReplicationControlManager.validateAlterPartitionData, and what is ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import Unclean
from support.clusters import TOPIC, Clusters, epochs


@pytest.fixture
def clusters() -> Clusters:
    """Replicas 1, 2, 3 with leader 1, in its second partition epoch, 4 no replica, 3 out of the ISR."""
    made = Clusters(brokers=4)
    made.topic(1, 2, 3, min_isr=2)
    assert made.propose(1, 2).code is Code.NONE
    return made


def test_a_taken_proposal_is_answered_with_what_is_held_now(clusters):
    reply = clusters.propose(1, 2, 3)
    assert reply == cmd.PartitionAnswer(Code.NONE, 0, 1, clusters.partition())
    assert clusters.partition().isr == (1, 2, 3)
    assert epochs(clusters.partition()) == (0, 2)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        # checkBrokerEpoch
        (Code.STALE_BROKER_EPOCH, {"broker_epoch": 99}),
        (Code.STALE_BROKER_EPOCH, {"broker_epoch": -1}),
        (Code.STALE_BROKER_EPOCH, {"broker_id": 9}),
        (Code.UNKNOWN_TOPIC_OR_PARTITION, {"topic": "other"}),
        (Code.UNKNOWN_TOPIC_OR_PARTITION, {"index": 1}),
        # epochs above ours: this is not the controller any more
        (Code.NOT_CONTROLLER, {"leader_epoch": 1}),
        (Code.NOT_CONTROLLER, {"partition_epoch": 2}),
        (Code.FENCED_LEADER_EPOCH, {"leader_epoch": -1}),
        # 2 has broker epoch 1, and is not the leader
        (Code.INVALID_REQUEST, {"broker_id": 2, "broker_epoch": 1}),
        (Code.INVALID_UPDATE_VERSION, {"partition_epoch": 0}),
        # Replicas.validateIsr
        (Code.INVALID_REQUEST, {"isr": ()}),
        (Code.INVALID_REQUEST, {"isr": ((1, 0), (1, 0))}),
        (Code.INVALID_REQUEST, {"isr": ((1, 0), (4, 3))}),
        (Code.INVALID_REQUEST, {"isr": ((2, 1), (3, 2))}),
        # recovering
        (Code.INVALID_REQUEST, {"recovering": True}),
        (Code.INVALID_REQUEST, {"recovering": True, "isr": ((1, 0),)}),
        # KIP-903
        (Code.INELIGIBLE_REPLICA, {"isr": ((1, 0), (3, 1))}),
        (Code.INELIGIBLE_REPLICA, {"isr": ((1, 0), (2, 9))}),
        (Code.INELIGIBLE_REPLICA, {"isr": ((1, 0), (2, 1), (3, -1))}),
        # an unknown epoch of one that is in already
        (Code.NONE, {"isr": ((1, -1), (2, -1), (3, 2))}),
        (Code.NONE, {"isr": ((1, -1), (2, -1))}),
        (Code.NONE, {"isr": ((3, 2), (1, 0), (2, 1))}),
    ],
)
def test_the_answers(clusters, code, fields):
    proposal = clusters.proposal(1, 2, 3, **fields)
    reply = clusters.do(proposal)
    assert reply.code is code
    assert (reply.leader_epoch, reply.partition_epoch) == (proposal.leader_epoch, proposal.partition_epoch)
    assert (reply.assignment is None) == (code is not Code.NONE)


def test_the_leader_epoch_is_looked_at_before_the_leader(clusters):
    """A leader that was replaced hears FENCED_LEADER_EPOCH, not that it may not ask."""
    proposal = clusters.proposal(1, 2, 3)
    clusters.beat(1, want_shut_down=True)
    assert clusters.partition().leader == 2
    assert clusters.do(proposal).code is Code.FENCED_LEADER_EPOCH


@pytest.mark.parametrize("state", ["fenced", "shutting down", "unregistered", "restarted"])
def test_nobody_enters_who_is_not_active_in_the_life_that_was_seen(clusters, state):
    """KIP-841, KIP-903."""
    proposal = clusters.proposal(1, 2, 3)
    if state == "fenced":
        clusters.fence(3)
    elif state == "shutting down":
        clusters.topic(3, name="led by 3")
        clusters.beat(3, want_shut_down=True)
        assert clusters.cluster.brokers[3].shutting_down
    elif state == "unregistered":
        clusters.do(cmd.UnregisterBroker(3))
    else:
        clusters.fence(3)
        clusters.start(3, previous_epoch=2)
        clusters.beat(3)
    assert clusters.do(proposal).code is Code.INELIGIBLE_REPLICA


def test_the_same_proposal_again_is_answered_again(clusters):
    """Its answer was lost; as the controller in ZooKeeper mode did (equalsAllowStalePartitionEpoch)."""
    proposal = clusters.proposal(1, 2, 3)
    first = clusters.do(proposal)
    assert clusters.do(proposal) == first
    assert clusters.changes == ()


def test_the_same_proposal_is_not_taken_again_once_more_has_happened(clusters):
    proposal = clusters.proposal(1, 2, 3)
    clusters.do(proposal)
    clusters.propose(1, 2)
    clusters.propose(1, 2, 3)
    assert clusters.do(proposal).code is Code.INVALID_UPDATE_VERSION


def test_proposing_what_is_there_voids_every_older_proposal(clusters):
    before = clusters.partition()
    older = clusters.proposal(1, 2, 3)
    reply = clusters.propose(1, 2)
    assert reply.assignment == replace(before, partition_epoch=before.partition_epoch + 1) == clusters.partition()
    assert clusters.do(older).code is Code.INVALID_UPDATE_VERSION


def test_a_recovering_leader_stays_alone_until_it_has_recovered(clusters):
    clusters.propose(1)
    clusters.do(cmd.SetTopicRules(TOPIC, replace(clusters.cluster.topics[TOPIC], unclean=Unclean.ANY)))
    for broker_id in (1, 2):
        clusters.fence(broker_id)
    known = clusters.partition()
    assert (known.leader, known.recovering, known.isr) == (3, True, (3,))
    clusters.beat(1)
    assert clusters.propose(1, 3, recovering=True).code is Code.INVALID_REQUEST
    assert clusters.propose(3, recovering=True).code is Code.NONE
    assert clusters.propose(3).assignment.recovering is False
    assert clusters.propose(1, 3).code is Code.NONE
    assert clusters.propose(1, 3, recovering=True).code is Code.INVALID_REQUEST


# -- resigning ---------------------------------------------------------------------------------------------------


def resign(clusters, **other):
    known = clusters.partition()
    fields = {"broker_id": known.leader, "broker_epoch": clusters.epochs[known.leader], "topic": TOPIC, "index": 0}
    return clusters.do(cmd.ResignLeader(**{**fields, "leader_epoch": known.leader_epoch, **other}))


def test_a_damaged_leader_hands_on_and_is_not_eligible(clusters):
    assert resign(clusters).code is Code.NONE
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr) == (2, (2,), ())
    assert known.leader_epoch == 1


def test_without_a_whole_successor_the_partition_waits(clusters):
    """R12: the cluster refuses rather than forgets."""
    clusters.fence(2)
    clusters.start(2)  # may have lost records
    clusters.beat(2)
    assert resign(clusters).code is Code.NONE
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr) == (-1, (), ())
    clusters.beat(1)
    clusters.beat(3)
    assert clusters.partition() == known


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (Code.STALE_BROKER_EPOCH, {"broker_epoch": 7}),
        (Code.UNKNOWN_TOPIC_OR_PARTITION, {"topic": "other"}),
        (Code.NOT_CONTROLLER, {"leader_epoch": 1}),
        (Code.FENCED_LEADER_EPOCH, {"leader_epoch": -1}),
        (Code.INVALID_REQUEST, {"broker_id": 2, "broker_epoch": 1}),
    ],
)
def test_only_the_leader_resigns(clusters, code, fields):
    assert resign(clusters, **fields).code is code
