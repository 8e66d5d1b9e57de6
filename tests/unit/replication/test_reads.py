"""KIP-392: a consumer reads in its own rack when a replica there is good enough (RackAwareReplicaSelectorTest)."""

from __future__ import annotations

import pytest

from kstore.replication import events as ev
from kstore.replication.reads import Candidate, choose, preferred_read_replica
from support.replicas import assignment
from support.roles import Leading

RACKS = {1: "a", 2: "b", 3: "c"}


def caught_up(isr=(1, 2, 3)):
    one = Leading(given=assignment(epoch=5, isr=isr))
    one.append(4)
    for follower in isr[1:]:
        one.fetch(follower, 4)
    return one


def preferred(one, offset=2, rack="b", racks=None):
    return preferred_read_replica(one.state, offset, rack, RACKS if racks is None else racks, one.now_ms)


def test_a_replica_of_the_same_rack_is_read_from():
    assert preferred(caught_up()) == 2
    assert preferred(caught_up(), rack="c") == 3


@pytest.mark.parametrize("rack", ["a", "elsewhere", "", None])
def test_else_the_leader(rack):
    assert preferred(caught_up(), rack=rack) is None


def test_nobody_knows_where_anybody_is():
    assert preferred(caught_up(), racks={}) is None


def test_a_leader_in_the_rack_is_preferred_over_all():
    assert preferred(caught_up(), racks={1: "b", 2: "b"}) is None


def test_who_is_not_in_sync_is_not_offered():
    one = caught_up(isr=(1, 3))
    assert preferred(one) is None


def test_who_is_not_alive_is_not_offered():
    one = caught_up()
    one.tell(ev.BrokersChanged(((1, 11), (3, 13))))
    assert preferred(one) is None


def test_who_does_not_hold_the_offset_is_not_offered():
    one = caught_up()
    one.append(4)
    assert preferred(one, offset=5) is None
    assert preferred(one, offset=4) == 2, "it waits there for what comes next"
    one.fetch(2, 8, log_start_offset=3)
    assert preferred(one, offset=2) is None


def test_who_has_never_fetched_is_not_offered():
    one = Leading()
    assert preferred(one, offset=0) is None


def test_a_leader_that_has_resigned_names_nobody():
    one = caught_up()
    one.tell(ev.Damaged(0))
    assert preferred(one) is None


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([Candidate(2, "b", 9, 5), Candidate(3, "b", 8, 9)], 2),
        ([Candidate(2, "b", 9, 5), Candidate(3, "b", 9, 6)], 3),
        ([Candidate(3, "b", 9, 5), Candidate(2, "b", 9, 5)], 2),
    ],
    ids=["the longest log", "the most lately caught up", "the lowest id"],
)
def test_among_several_in_the_rack(others, chosen):
    assert choose(1, (Candidate(1, "a", 9, 9), *others), "b") == chosen
