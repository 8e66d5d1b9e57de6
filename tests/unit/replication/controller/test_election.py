"""Who leads after a change, and which epochs rise: Kafka's PartitionChangeBuilder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.change import NOTHING, Wish, altered
from kstore.replication.controller.cluster import TopicRules, Unclean
from kstore.replication.controller.commands import Election
from kstore.replication.controller.leadership import PREFERRED
from kstore.replication.controller.replicas import Moving
from kstore.replication.state import NO_LEADER, Assignment
from support.clusters import TOPIC, Clusters, epochs


def partition(leader: int = 1, isr: tuple[int, ...] = (1, 2, 3), **other: Any) -> Assignment:
    return Assignment(leader, 7, 20, other.pop("replicas", (1, 2, 3)), isr, **other)


def changed(
    before: Assignment, wish: Wish, alive: tuple[int, ...] = (1, 2, 3, 4), min_isr: int = 1, unclean: int = 0
) -> Assignment | None:
    return altered(before, wish, TopicRules(min_isr, Unclean(unclean)), lambda broker_id: broker_id in alive)


def leaderless(**other: Any) -> Assignment:
    return partition(NO_LEADER, (), **other)


# -- clean -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wish", "alive", "leader"),
    [
        (partition(2), NOTHING, (1, 2, 3), 2),
        (partition(2), Wish(isr=(1, 2)), (1, 2), 2),
        # in the order of the replicas
        (partition(1), Wish(isr=(2, 3)), (2, 3), 2),
        (partition(1, replicas=(3, 1, 2)), Wish(isr=(2, 3)), (2, 3), 3),
        # who is not alive is passed over
        (partition(1), Wish(isr=(3,)), (2, 3), 3),
        # preferred only when it is asked for, in sync and alive
        (partition(2), PREFERRED, (1, 2, 3), 1),
        (partition(2, (2, 3)), PREFERRED, (1, 2, 3), 2),
        (partition(2), PREFERRED, (2, 3), 2),
        (partition(2, (2, 3)), Wish(isr=(3,), preferred=True), (1, 3), 3),
        # from the ELR only when the ISR is empty
        (leaderless(elr=(2, 3)), NOTHING, (2, 3), 2),
        (leaderless(elr=(2, 3)), NOTHING, (1, 3), 3),
        (leaderless(elr=(2, 3)), NOTHING, (1,), NO_LEADER),
        (leaderless(elr=(2,), replicas=(2, 1, 3)), PREFERRED, (1, 2), 2),
        (partition(1, (1,), elr=(2,)), Wish(isr=()), (2, 3), 2),
        (partition(3, (3,), elr=(2,), replicas=(2, 3)), PREFERRED, (2, 3), 3),
    ],
)
def test_a_clean_election(before, wish, alive, leader):
    after = changed(before, wish, alive, min_isr=3) or before
    assert (after.leader, after.recovering, after.unclean_epoch) == (leader, False, -1)
    assert after.leader_epoch == before.leader_epoch + (leader != before.leader)


def test_a_leader_from_the_elr_is_the_isr():
    after = changed(leaderless(elr=(2, 3)), NOTHING, (2,), min_isr=2)
    assert (after.isr, after.elr) == ((2,), (3,))


@pytest.mark.parametrize("unclean", [0, 1])
def test_nobody_else_is_elected_unless_asked_for(unclean):
    assert changed(leaderless(elr=(1,)), NOTHING, (2, 3), unclean=unclean) is None
    assert changed(leaderless(last_known_elr=(1,)), NOTHING, (2, 3), unclean=unclean) is None


# -- unclean -----------------------------------------------------------------------------------------------------


def test_an_unclean_leader_is_alone_recovering_and_its_epoch_is_noted():
    after = changed(leaderless(elr=(1,), last_known_elr=(1,)), NOTHING, (2, 3), min_isr=2, unclean=2)
    assert after == replace(
        leaderless(), leader=2, leader_epoch=8, partition_epoch=21, isr=(2,), recovering=True, unclean_epoch=8
    )


def test_the_epoch_of_the_unclean_election_stays():
    before = partition(2, (2,), recovering=True, unclean_epoch=5)
    after = changed(before, Wish(isr=(2, 3), recovering=False))
    assert (after.recovering, after.unclean_epoch) == (False, 5)
    after = changed(before, Wish(isr=(), recovering=None), (3,), unclean=2)
    assert (after.leader, after.recovering, after.unclean_epoch) == (3, True, 8)


def test_recovering_outlives_a_clean_election():
    """LeaderRecoveryState changes by AlterPartition alone."""
    assert changed(leaderless(elr=(2,), recovering=True), NOTHING, (2,)).recovering


@pytest.mark.parametrize(
    ("unclean", "elr", "alive", "leader"),
    [
        (0, (), (3,), NO_LEADER),
        (1, (), (3,), 3),
        (2, (), (1, 2, 3), 3),
        # KAFKA-19522: it must be alive
        (1, (), (1, 2), NO_LEADER),
        (2, (), (1, 2), 1),
        # who is eligible has more, so the last leader waits for them
        (1, (2,), (3,), NO_LEADER),
        (2, (2,), (1, 3), 1),
    ],
)
def test_the_last_known_leader_may_lead_again(unclean, elr, alive, leader):
    """canElectLastKnownLeader: Kafka with ELR does that even where unclean elections are off."""
    after = changed(leaderless(elr=elr, last_known_elr=(3,)), NOTHING, alive, unclean=unclean) or leaderless()
    assert (after.leader, after.recovering) == (leader, leader != NO_LEADER)


def test_the_last_leader_is_noted_once_and_forgotten_with_the_next():
    """maybeUpdateLastKnownLeader."""
    first = changed(partition(2, (2,)), Wish(isr=(), lost=frozenset({2})), (1, 3))
    assert (first.leader, first.last_known_elr) == (NO_LEADER, (2,))
    assert changed(first, NOTHING, (1, 3)) is None
    last = changed(first, NOTHING, (1, 3), unclean=2)
    assert (last.leader, last.last_known_elr) == (1, ())


# -- epochs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "bumped"),
    [
        (Wish(isr=(1, 2)), False),  # KAFKA-15021: no longer for a smaller ISR
        (Wish(moving=Moving((1, 2, 3, 4), (4,))), False),
        (Wish(isr=(2, 3)), True),
        (Wish(moving=Moving((1, 2, 4, 3), (4,), (3,)), isr=(1, 2, 3, 4)), True),
        (Wish(moving=Moving((3, 2, 1))), False),
        (Wish(isr=()), True),
    ],
)
def test_when_the_leader_epoch_rises(wish, bumped):
    alive = (1, 2, 3, 4) if wish.isr is None else wish.isr
    after = changed(partition(), wish, alive)
    assert epochs(after) == (7 + bumped, 21)


def test_no_change_no_epoch():
    assert changed(partition(), NOTHING) is None
    assert changed(partition(), Wish(isr=(3, 2, 1), moving=Moving((1, 2, 3)), recovering=False)) is None


# -- elections that are asked for --------------------------------------------------------------------------------


def elect(clusters: Clusters, election: Election) -> Code:
    return clusters.do(cmd.ElectLeader(TOPIC, 0, election)).code


def test_the_preferred_leader_is_given_back_its_partition():
    clusters = Clusters()
    clusters.topic(1, 2, 3)
    assert elect(clusters, Election.PREFERRED) is Code.ELECTION_NOT_NEEDED
    clusters.fence(1)
    assert elect(clusters, Election.PREFERRED) is Code.PREFERRED_LEADER_NOT_AVAILABLE
    clusters.beat(1)
    assert elect(clusters, Election.PREFERRED) is Code.PREFERRED_LEADER_NOT_AVAILABLE, "not in sync"
    clusters.propose(1, 2, 3)
    assert elect(clusters, Election.PREFERRED) is Code.NONE
    assert clusters.partition().leader == 1


def test_leaders_are_balanced_a_few_at_a_time():
    clusters = Clusters(brokers=2)
    for name in "abc":
        clusters.topic(1, 2, name=name)
    clusters.fence(1)
    clusters.beat(1)
    clusters.do(cmd.BalanceLeaders())
    assert clusters.changes == (), "1 is in no ISR yet"
    for name in "abc":
        known = clusters.partition(name)
        isr = ((1, 0), (2, 1))
        clusters.do(cmd.AlterPartition(2, 1, name, 0, known.leader_epoch, known.partition_epoch, isr))
    clusters.do(cmd.BalanceLeaders(elections_max=2))
    assert [clusters.partition(name).leader for name in "abc"] == [1, 1, 2]
    clusters.do(cmd.BalanceLeaders())
    assert [clusters.partition(name).leader for name in "abc"] == [1, 1, 1]


def test_an_operator_may_elect_uncleanly_whatever_the_rules():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    assert elect(clusters, Election.UNCLEAN) is Code.ELECTION_NOT_NEEDED
    clusters.propose(1)
    clusters.fence(1)
    assert clusters.partition().leader == NO_LEADER
    clusters.fence(2)
    assert elect(clusters, Election.UNCLEAN) is Code.ELIGIBLE_LEADERS_NOT_AVAILABLE
    clusters.beat(2)
    assert clusters.partition().leader == NO_LEADER
    assert elect(clusters, Election.UNCLEAN) is Code.NONE
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.recovering) == (2, (2,), (), True)
    assert known.unclean_epoch == known.leader_epoch


def test_an_election_of_an_unknown_partition():
    clusters = Clusters()
    assert elect(clusters, Election.PREFERRED) is Code.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("event", ["fenced", "came back", "new rules"])
def test_a_topic_that_allows_it_is_led_uncleanly_as_soon_as_possible(event):
    """KAFKA-12670 for the new rules."""
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2, unclean=Unclean.NEVER if event == "new rules" else Unclean.ANY)
    clusters.propose(1)
    if event == "came back":
        clusters.fence(2)
    clusters.fence(1)
    if event == "came back":
        clusters.beat(2)
    elif event == "new rules":
        assert clusters.partition().leader == NO_LEADER
        clusters.do(cmd.SetTopicRules(TOPIC, TopicRules(unclean=Unclean.ANY)))
    assert (clusters.partition().leader, clusters.partition().recovering) == (2, True)
