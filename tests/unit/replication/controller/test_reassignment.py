"""Moving partitions: Kafka's PartitionReassignmentReplicas, PartitionReassignmentRevert and KIP-455."""

from __future__ import annotations

import pytest

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import Unclean
from kstore.replication.controller.reassignment import reassigning
from kstore.replication.controller.replicas import Moving, completed, towards
from support.clusters import TOPIC, Clusters, epochs


def move(clusters: Clusters, *replicas: int) -> Code:
    return clusters.do(cmd.Reassign(TOPIC, 0, replicas)).code


def cancel(clusters: Clusters) -> Code:
    return clusters.do(cmd.Reassign(TOPIC, 0, None)).code


def lists(clusters: Clusters) -> tuple[tuple[int, ...], ...]:
    known = clusters.partition()
    return known.replicas, known.adding, known.removing


@pytest.mark.parametrize(
    ("now", "target", "expected"),
    [
        (Moving((1, 2, 3)), (1, 2, 4), Moving((1, 2, 4, 3), (4,), (3,))),
        (Moving((1, 2, 3)), (5, 4), Moving((5, 4, 1, 2, 3), (4, 5), (1, 2, 3))),
        (Moving((1, 2, 3)), (3, 2, 1), Moving((3, 2, 1))),
        (Moving((1, 2, 3)), (2,), Moving((2, 1, 3), (), (1, 3))),
        # one move after another: the origin 1, 2 stays
        (Moving((3, 1, 2), (3,), (1,)), (4, 1, 2), Moving((4, 1, 2, 3), (3, 4), (3,))),
        (Moving((3, 1, 2), (3,), (1,)), (1, 2), Moving((1, 2, 3), (3,), (3,))),
        (Moving((3, 1, 2), (3,), (1,)), (3, 2), Moving((3, 2, 1), (3,), (1,))),
    ],
)
def test_the_lists_of_a_move(now, target, expected):
    after = towards(now, target)
    assert after == expected
    assert after.target == target
    assert set(after.original) == set(now.original)


@pytest.mark.parametrize(
    ("now", "isr", "expected"),
    [
        (Moving((1, 2)), (1, 2), None),
        (Moving((1, 2, 3), (3,)), (1, 2), None),
        (Moving((1, 2, 3), (3,)), (1, 2, 3), ((1, 2, 3), (1, 2, 3))),
        (Moving((1, 2, 3), (), (3,)), (3,), None),
        (Moving((1, 2, 3), (), (3,)), (1, 3), None),
        (Moving((1, 2, 3), (), (3,)), (1, 2), ((1, 2), (1, 2))),
        (Moving((1, 2, 3), (), (3,)), (1, 2, 3), ((1, 2), (1, 2))),
        (Moving((4, 1), (4,), (1,)), (1, 4), ((4,), (4,))),
    ],
)
def test_when_a_move_is_over(now, isr, expected):
    done = completed(now, isr)
    assert (done and (done[0].replicas, done[1])) == expected


def test_a_whole_move():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2, 3)
    assert move(clusters, 4, 2, 3) is Code.NONE
    assert lists(clusters) == ((4, 2, 3, 1), (4,), (1,))
    assert epochs(clusters.partition()) == (0, 1)
    assert reassigning(clusters.cluster) == ((TOPIC, 0),)
    assert clusters.propose(1, 2, 3, 4).code is Code.NEW_LEADER_ELECTED
    known = clusters.partition()
    assert lists(clusters) == ((4, 2, 3), (), ())
    assert (known.leader, known.isr, epochs(known)) == (4, (2, 3, 4), (1, 2))
    assert reassigning(clusters.cluster) == ()


def test_a_move_that_keeps_the_leader_answers_with_its_new_epoch():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2, 3)
    move(clusters, 1, 2, 4)
    reply = clusters.propose(1, 2, 3, 4)
    assert reply.code is Code.NONE
    assert (reply.assignment.leader, reply.assignment.isr, epochs(reply.assignment)) == (1, (1, 2, 4), (1, 2))


def test_a_move_to_replicas_that_are_there_is_over_at_once():
    clusters = Clusters()
    clusters.topic(1, 2, 3)
    move(clusters, 3, 2)
    assert lists(clusters) == ((3, 2), (), ())
    assert (clusters.partition().leader, clusters.partition().leader_epoch) == (3, 1)
    assert move(clusters, 3, 2) is Code.NONE
    assert clusters.changes == ()
    move(clusters, 2, 3)
    assert clusters.partition().leader == 3, "another order alone moves nobody"
    assert clusters.partition().leader_epoch == 1


def test_a_smaller_target_ends_a_move_that_could_not_end():
    clusters = Clusters()
    clusters.topic(1, 2, 3)
    clusters.fence(3)
    move(clusters, 2, 3)
    assert lists(clusters) == ((2, 3, 1), (), (1,))
    move(clusters, 2)
    assert lists(clusters) == ((2,), (), ())


def test_a_broker_that_is_removed_while_it_is_away():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2, 3)
    clusters.fence(3)
    move(clusters, 1, 2, 4)
    assert clusters.propose(1, 2, 4).code is Code.NONE
    assert lists(clusters) == ((1, 2, 4), (), ())


@pytest.mark.parametrize(
    ("replicas", "reason"),
    [((), "no replica"), ((1, 9), "broker 9, which is not registered"), ((2, 2), "more than once")],
)
def test_what_is_no_assignment(replicas, reason):
    clusters = Clusters()
    clusters.topic(1, 2)
    reply = clusters.do(cmd.Reassign(TOPIC, 0, replicas))
    assert reply.code is Code.INVALID_REPLICA_ASSIGNMENT
    assert reason in reply.message
    assert clusters.changes == ()


def test_an_unknown_partition_does_not_move():
    clusters = Clusters()
    assert move(clusters, 1) is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert cancel(clusters) is Code.UNKNOWN_TOPIC_OR_PARTITION


# -- calling it off ----------------------------------------------------------------------------------------------


def test_a_move_is_called_off():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2)
    assert cancel(clusters) is Code.NO_REASSIGNMENT_IN_PROGRESS
    move(clusters, 3, 4)
    clusters.propose(1, 2, 3)
    assert cancel(clusters) is Code.NONE
    known = clusters.partition()
    assert lists(clusters) == ((1, 2), (), ())
    assert (known.leader, known.isr, epochs(known)) == (1, (1, 2), (1, 3)), "replicas were removed"


def test_two_moves_are_called_off_at_once():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2)
    move(clusters, 3, 1)
    move(clusters, 4, 1)
    assert lists(clusters) == ((4, 1, 2, 3), (3, 4), (2, 3))
    cancel(clusters)
    assert lists(clusters) == ((1, 2), (), ())


@pytest.mark.parametrize("unclean", list(Unclean))
def test_calling_off_does_not_forget_what_only_the_new_replicas_hold(unclean):
    """PartitionReassignmentRevert: only an unclean election could go back."""
    clusters = Clusters()
    clusters.topic(1, 2, unclean=unclean)
    move(clusters, 3, 2)
    clusters.propose(1, 3)
    clusters.fence(1)
    assert (clusters.partition().leader, clusters.partition().isr, clusters.partition().elr) == (3, (3,), ())
    before = clusters.partition()
    if unclean is Unclean.ANY:
        assert cancel(clusters) is Code.NONE
        known = clusters.partition()
        assert (known.leader, known.isr, known.recovering) == (2, (2,), True)
        assert known.unclean_epoch == known.leader_epoch == before.leader_epoch + 1
    else:
        assert cancel(clusters) is Code.INVALID_REPLICA_ASSIGNMENT
        assert clusters.partition() == before


def test_calling_off_goes_back_to_an_eligible_replica():
    clusters = Clusters(brokers=4)
    clusters.topic(1, 2, min_isr=2)
    move(clusters, 3, 4)
    clusters.propose(1, 2, 3)
    clusters.fence(2, 1)
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr) == (3, (3,), (1,))
    assert cancel(clusters) is Code.INVALID_REPLICA_ASSIGNMENT, "1 is eligible, but away"
    clusters.beat(1)
    assert cancel(clusters) is Code.NONE
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.recovering) == (1, (1,), (), False)
