"""Eligible leader replicas (KIP-966): Kafka's PartitionChangeBuilder.maybePopulateTargetElr, and what follows."""

from __future__ import annotations

import pytest

from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import TopicRules
from kstore.replication.controller.eligible import eligible
from kstore.replication.state import Assignment
from support.clusters import TOPIC, Clusters


@pytest.mark.parametrize(
    ("isr", "elr", "new_isr", "lost", "expected"),
    [
        # large enough: nobody is needed
        ((1, 2, 3), (), (1, 2), (), ()),
        ((1,), (2, 3), (1, 4), (), ()),
        # too small: who leaves is eligible, who returns is in the ISR
        ((1, 2), (), (1,), (), (2,)),
        ((1,), (2,), (), (), (1, 2)),
        ((), (1, 2), (2,), (), (1,)),
        ((1,), (2,), (3,), (), (1, 2)),
        # who may have lost records is not
        ((1, 2), (), (1,), (2,), ()),
        ((1,), (2, 3), (), (1,), (2, 3)),
        ((1,), (2, 3), (1,), (3,), (2,)),
    ],
)
def test_who_is_eligible(isr, elr, new_isr, lost, expected):
    before = Assignment(1, 0, 0, (1, 2, 3, 4), isr, elr=elr)
    assert eligible(before, new_isr, before.replicas, 2, lost) == expected


def test_a_replica_that_is_removed_is_not_eligible():
    before = Assignment(1, 0, 0, (1, 2, 3), (1, 3), elr=(2,))
    assert eligible(before, (1,), (1,), 2, ()) == ()


def test_the_minimum_is_no_more_than_there_are_replicas():
    assert TopicRules(3).min_isr((1, 2)) == 2
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2, min_isr=3)
    clusters.fence(2)
    assert clusters.partition().elr == (2,)
    clusters.beat(2)
    clusters.propose(1, 2)
    assert clusters.partition().elr == ()


def test_below_the_minimum_nobody_who_holds_everything_is_forgotten():
    """Three replicas fall one after the other, and any of those that fell below the minimum may lead."""
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=2)
    clusters.fence(3)
    assert (clusters.partition().isr, clusters.partition().elr) == ((1, 2), ())
    clusters.fence(2)
    assert (clusters.partition().isr, clusters.partition().elr) == ((1,), (2,))
    clusters.fence(1)
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.last_known_elr) == (-1, (), (1, 2), (1,))
    clusters.beat(3)
    assert clusters.partition() == known, "3 left while the others went on"
    clusters.beat(2)
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.last_known_elr) == (2, (2,), (1,), ())
    clusters.beat(1)
    clusters.propose(2, 3)
    assert clusters.partition().elr == (), "two in sync may commit without 1"
    assert clusters.partition().isr == (2, 3)


def test_an_eligible_replica_may_restart_and_stays_eligible():
    """A clean shutdown (KIP-966); its epoch is another one now."""
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2, min_isr=2)
    clusters.fence(2)
    clusters.start(2, previous_epoch=clusters.epochs[2])
    assert clusters.partition().elr == (2,)
    clusters.fence(1)
    clusters.beat(2)
    assert (clusters.partition().leader, clusters.partition().recovering) == (2, False)


def test_a_leader_whose_disk_refuses_to_write_stays_eligible():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2, min_isr=2)
    clusters.fence(2)
    clusters.do(cmd.ResignLeader(1, 0, TOPIC, 0, 0, lost=False))
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr) == (-1, (), (1, 2))
    clusters.do(cmd.BalanceLeaders())
    assert clusters.partition().leader == 1, "nobody better is left"


def test_a_leader_that_resigns_is_not_eligible():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2, min_isr=2)
    clusters.do(cmd.ResignLeader(1, 0, TOPIC, 0, 0))
    assert (clusters.partition().isr, clusters.partition().elr) == ((2,), ())


@pytest.mark.parametrize(
    ("old", "new", "elr"),
    [
        (3, 2, (2, 3)),  # the ISR is below both: nothing was committed since
        (3, 1, ()),  # the leader alone may commit now
        (2, 3, (2,)),
    ],
)
def test_another_minimum(old, new, elr):
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=old)
    clusters.fence(3)
    clusters.fence(2)
    before = clusters.partition()
    clusters.do(cmd.SetTopicRules(TOPIC, TopicRules(new)))
    assert clusters.partition().elr == elr
    assert clusters.partition().partition_epoch == before.partition_epoch + 1
    assert clusters.partition().leader_epoch == before.leader_epoch


def test_a_leader_that_does_not_know_the_new_minimum_changes_no_isr():
    """Else 2 could be eligible for the controller, and not needed any more for the leader."""
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    proposal = clusters.proposal(1)
    clusters.do(cmd.SetTopicRules(TOPIC, TopicRules(2)))
    assert clusters.do(proposal).code.name == "INVALID_UPDATE_VERSION"
    assert clusters.partition().isr == (1, 2)
