"""A replica that cannot go on: its log is damaged, or its disk has failed (S6, S17, S18, R12)."""

from __future__ import annotations

import pytest

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import leading
from kstore.replication.codes import Code
from kstore.replication.follower import Phase
from support.replicas import assignment
from support.roles import Following, Leading, local

FAILURES = {
    ev.DiskFailed(): Code.KAFKA_STORAGE_ERROR,
    ev.Damaged(0): Code.NOT_LEADER_OR_FOLLOWER,
}


@pytest.mark.parametrize(("failure", "code"), FAILURES.items())
def test_a_leader_that_fails_resigns_and_answers_who_waits(failure, code):
    leading_one = Leading()
    tokens = [leading_one.append(), leading_one.append()]
    leading_one.tell(failure)
    assert leading_one.acknowledged == [(token, code) for token in tokens]
    (resign,) = leading_one.asked(do.Resign)
    assert resign.leader_epoch == 5
    assert resign.reason


@pytest.mark.parametrize("failure", FAILURES)
def test_who_has_resigned_commits_and_acknowledges_nothing_more(failure):
    one = Leading()
    one.append(2)
    one.tell(failure)
    for follower in (2, 3):
        one.fetch(follower, 2)
    assert one.mark == 0
    assert not one.asked(do.AdvanceHighWatermark)
    token = one.append(acks=1)
    assert one.acknowledged == [(token, FAILURES[failure])]
    token = one.append(acks=-1)
    assert one.acknowledged == [(token, FAILURES[failure])]
    one.append(acks=0)
    assert one.acknowledged == []
    assert one.state.waiting == ()
    assert leading.refusal(one.state, 0) is FAILURES[failure]


@pytest.mark.parametrize("failure", FAILURES)
def test_who_has_resigned_proposes_nothing_more(failure):
    one = Leading(log=local(1), given=assignment(epoch=5, isr=(1, 2)))
    one.tell(failure)
    one.fetch(3, 1)
    assert one.state.proposal is None, "no newcomer"
    one.tell(ev.Ticked(), after_ms=60_000)
    assert one.asked(do.ProposeIsr) == [], "and nobody leaves: who is in sync is who can take over"


@pytest.mark.parametrize("failure", FAILURES)
def test_a_resignation_is_repeated_until_the_controller_has_heard_it(failure):
    one = Leading(log=local(1))
    (first,) = [e for e in one.tell(failure) if isinstance(e, do.Resign)]
    assert one.state.next_deadline_ms() == one.now_ms + 2_000
    assert one.ignores(ev.Ticked(), after_ms=1_999)
    assert one.tell(ev.Ticked(), after_ms=1) == (first,)
    assert one.ignores(ev.Ticked(), after_ms=1_999)
    one.tell(ev.Assigned(assignment(leader=2, epoch=6, isr=(2, 3), partition_epoch=1)))
    assert one.asked(do.Resign) == []


def test_newer_metadata_of_the_same_term_does_not_make_it_a_leader_again():
    one = Leading()
    one.append()
    one.tell(ev.Damaged(0))
    one.tell(ev.Assigned(assignment(epoch=5, isr=(1,), partition_epoch=1)))
    assert one.state.resignation is not None
    assert one.mark == 0


def test_a_second_failure_says_nothing_new():
    one = Leading(log=local(4))
    one.tell(ev.Damaged(2))
    assert one.ignores(ev.Damaged(3))
    assert one.tell(ev.Damaged(1)) == ()
    assert one.local.damaged_offset == 1
    one.tell(ev.DiskFailed())
    assert one.ignores(ev.DiskFailed())


def test_damage_that_is_not_in_the_log_any_more_is_no_damage():
    """An event from the past: the bytes were cut, or lie below the log start."""
    for role in (Leading, Following):
        one = role(log=local(4, 2, start=2, epochs=((1, 2),)))
        assert one.ignores(ev.Damaged(4))
        assert one.ignores(ev.Damaged(1))


@pytest.mark.parametrize("damaged", [0, 3])
def test_who_is_damaged_does_not_begin_to_lead(damaged):
    """R12. Above its own high watermark too: the leader before may have committed that without telling it yet."""
    one = Leading(log=local(4, mark=2, damaged_offset=damaged))
    assert len(one.asked(do.Resign)) == 1
    for follower in (2, 3):
        one.fetch(follower, 4)
    assert one.mark == 2


def test_a_failed_disk_is_asked_for_nothing():
    """S18: what the kernel did with the pages is unknown, so nothing that an fsync says later counts."""
    one = Leading()
    one.append(3, synced=False)
    one.tell(ev.DiskFailed())
    assert one.ignores(ev.Synced(3))
    assert one.fetch(2, 0).code is Code.KAFKA_STORAGE_ERROR
    following = Following(log=local(2, durable=1))
    following.tell(ev.DiskFailed())
    assert following.state.phase is Phase.HALTED
    assert following.ignores(ev.Synced(2))
    assert following.state.next_deadline_ms() is None


def test_a_failed_disk_stays_failed_in_every_later_role():
    one = Following()
    one.tell(ev.DiskFailed())
    assert one.tell(ev.Assigned(assignment(leader=3, epoch=6))) == ()
    assert one.state.phase is Phase.HALTED
    effects = one.tell(ev.Assigned(assignment(leader=2, epoch=7)))
    assert [type(effect) for effect in effects] == [do.Resign]
    one.tell(ev.Assigned(assignment(leader=3, epoch=8)))
    assert one.state.phase is Phase.HALTED


def test_a_halted_follower_answers_as_one_that_does_not_lead():
    one = Following()
    one.tell(ev.DiskFailed())
    one.tell(ev.Requested(ev.OffsetsRequest(3, 1, 5)))
    assert one.effects == (do.SendReply(3, ev.OffsetsReply(2, 1, Code.NOT_LEADER_OR_FOLLOWER)),)
