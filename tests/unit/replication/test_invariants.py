"""Each invariant, broken on purpose: the step is not taken, and the message says which one and where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstore.errors import InvariantError
from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import follower, invariants, leader, machine
from kstore.replication.codes import Code
from support.replicas import assignment
from support.roles import Following, Leading, lineage, local


def following(log=None):
    return Following(log=log or local(4, mark=2, epochs=((1, 0), (3, 2)))).state


def changed(state, **more):
    return replace(state, local=replace(state.local, **more))


FOLLOWERS = [
    ("I7", {"high_watermark": 5}, (), "the mark passes the end"),
    ("I7", {"log_start_offset": 3}, (), "the start passes the mark"),
    ("I7", {"high_watermark": 1}, (), "the mark falls"),
    ("I7", {"high_watermark": 1}, (do.Truncate(3),), "the mark falls in a clean truncation"),
    ("I21", {"durable_offset": 5}, (), "what is not there is durable"),
    ("I10", {"lineage": lineage((3, 0), (1, 2))}, (), "epochs fall"),
    ("I10", {"lineage": lineage((1, 2), (3, 2))}, (), "two epochs start together"),
    ("I10", {"lineage": lineage((1, 0), (3, 5))}, (), "an epoch starts above the end"),
    ("I9", {}, (do.Truncate(1),), "truncation below the mark"),
]


@pytest.mark.parametrize(("name", "change", "effects", "what"), FOLLOWERS, ids=[case[-1] for case in FOLLOWERS])
def test_a_replica(name, change, effects, what):
    before = following()
    with pytest.raises(InvariantError, match=rf"^{name}: .*; replica 2 in epoch 5 holds"):
        invariants.check(before, changed(before, **change), effects)


def test_the_log_start_never_falls():
    before = following(local(4, mark=3, start=2, epochs=((1, 2),)))
    with pytest.raises(InvariantError, match="I7"):
        invariants.check(before, changed(before, log_start_offset=1), ())


@pytest.mark.parametrize("effect", [do.Truncate(1, unclean=True), do.StartOver(1)])
def test_the_mark_may_fall_where_records_are_given_up(effect):
    before = following()
    after = changed(before, log_end_offset=1, durable_offset=1, high_watermark=1, lineage=lineage((1, 0)))
    invariants.check(before, after, (effect,))


def test_a_leader_is_in_its_isr():
    state = Leading().state
    with pytest.raises(InvariantError, match="I4"):
        invariants.check(state, replace(state, assignment=replace(state.assignment, isr=(2, 3))), ())


def test_a_leaders_log_never_shrinks_and_ends_in_its_own_epoch():
    state = Leading(log=local(4, mark=2)).state
    shorter = {"log_end_offset": 3, "durable_offset": 3, "lineage": lineage((1, 0), (5, 3))}
    with pytest.raises(InvariantError, match="I6"):
        invariants.check(state, changed(state, **shorter), ())
    with pytest.raises(InvariantError, match="I10"):
        invariants.check(state, changed(state, lineage=lineage((1, 0))), ())


def test_the_mark_does_not_pass_a_member_of_the_maximal_isr():
    one = Leading()
    one.append(2)
    one.fetch(2, 2)
    with pytest.raises(InvariantError, match="I3: ISR member 3"):
        invariants.check(one.state, changed(one.state, high_watermark=2), ())


# -- a wrong machine is stopped before anything is done by it ----------------------------------------------------


def test_a_follower_that_would_cut_below_its_mark_is_not_let(monkeypatch):
    def cut(state, offset):
        return changed(state, log_end_offset=offset, high_watermark=offset, durable_offset=offset), (
            do.Truncate(offset),
        )

    monkeypatch.setattr(follower, "_cut", cut)
    one = Following(log=local(4, mark=3))
    reply = ev.FetchReply(1, one.state.number, Code.NONE, diverging_epoch=1, diverging_end_offset=1)
    with pytest.raises(InvariantError, match=r"I7|I9"):
        machine.step(one.state, ev.Fetched(reply), one.now_ms)
    assert one.local.log_end_offset == 4


def test_a_leader_that_forgets_a_member_is_not_let(monkeypatch):
    monkeypatch.setattr(leader, "_committed", lambda state, now_ms: state.local.log_end_offset)
    one = Leading()
    with pytest.raises(InvariantError, match="I3"):
        one.append()


def test_metadata_that_makes_a_leader_of_who_is_not_in_sync_is_refused():
    one = Following()
    with pytest.raises(InvariantError, match="I4"):
        one.tell(ev.Assigned(assignment(leader=2, epoch=6, isr=(1, 3), partition_epoch=1)))
