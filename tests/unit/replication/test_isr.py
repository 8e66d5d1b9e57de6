"""How the ISR changes: who may join, who must go, and what becomes of a proposal (KIP-497, KIP-903, KAFKA-7128)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication.codes import Code
from support.replicas import BROKERS, assignment
from support.roles import Leading, local

# -- joining -----------------------------------------------------------------------------------------------------


def alone(**more):
    """Replica 1 alone in sync, with four records from before its term, two of them known to be committed."""
    return Leading(log=local(4, mark=2), given=assignment(epoch=5, isr=(1,)), **more)


def held_back():
    """The same, but what it holds of its own term is not on the medium yet: its mark stays at two."""
    return Leading(log=local(4, mark=2, durable=2), given=assignment(epoch=5, isr=(1,)))


def test_who_has_reached_mark_and_term_is_proposed():
    one = alone()
    one.fetch(2, 4)
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 0, ((1, 11), (2, 12)))]


def test_the_mark_alone_is_not_enough():
    """KAFKA-7128: the leader before may have committed up to its own end; who has less must not be elected."""
    one = held_back()
    one.fetch(2, 3)
    assert one.mark == 2
    assert one.asked(do.ProposeIsr) == []


def test_the_start_of_the_term_alone_is_not_enough():
    one = Leading(given=assignment(epoch=5, isr=(1,)))
    one.append(3)
    assert one.mark == 3
    one.fetch(2, 2)
    assert one.asked(do.ProposeIsr) == []


@pytest.mark.parametrize("eligible", [((1, 11), (3, 13)), ((1, 11), (2, 99), (3, 13))], ids=["fenced", "another life"])
def test_who_the_controller_would_refuse_is_not_proposed(eligible):
    """KIP-841, KIP-903."""
    one = alone(eligible=eligible)
    one.fetch(2, 4)
    assert one.asked(do.ProposeIsr) == []


def test_who_may_join_only_now_is_proposed_at_once():
    """Its fetch came before the controller had unfenced it, and its next one waits for records."""
    one = alone(eligible=((1, 11), (3, 13)))
    one.fetch(2, 4)
    one.tell(ev.BrokersChanged(((1, 11), (2, 12), (3, 13))), after_ms=1)
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 0, ((1, 11), (2, 12)))]


@pytest.mark.parametrize("why", ["behind", "another life", "silent", "never fetched"])
def test_a_change_of_brokers_lets_nobody_in_whom_a_fetch_would_not(why):
    one = alone(eligible=((1, 11),))
    if why != "never fetched":
        one.fetch(2, 3 if why == "behind" else 4)
    lives = ((1, 11), (2, 99 if why == "another life" else 12))
    one.tell(ev.BrokersChanged(lives), after_ms=one.state.rules.lag_time_max_ms + (why == "silent"))
    assert one.asked(do.ProposeIsr) == []
    assert one.state.proposal is None


def test_a_member_that_has_not_fetched_is_proposed_without_its_epoch():
    one = Leading(given=assignment(epoch=5, isr=(1, 2)))
    one.fetch(3, 0)
    assert one.state.proposal.isr == ((1, 11), (2, -1), (3, 13))


def test_one_proposal_at_a_time():
    one = alone()
    one.fetch(2, 4)
    one.fetch(3, 4)
    assert one.asked(do.ProposeIsr) == []
    one.answer()
    one.fetch(3, 4)
    assert one.state.proposal.members == BROKERS


def test_a_late_or_repeated_fetch_lets_nobody_in():
    one = alone()
    one.fetch(2, 3)
    one.fetch(2, 4, number=one.numbers[2])
    assert one.asked(do.ProposeIsr) == []


# -- leaving -----------------------------------------------------------------------------------------------------


def test_who_lags_for_too_long_is_proposed_to_leave():
    one = Leading()
    one.append()
    one.fetch(2, 1, after_ms=20_000)
    one.tell(ev.Ticked(), after_ms=10_001)
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 0, ((1, 11), (2, 12)))]


def test_nobody_lags_behind_a_log_that_does_not_grow():
    one = Leading()
    one.fetch(2, 0)
    one.fetch(3, 0)
    assert one.tell(ev.Ticked(), after_ms=90_000) == ()


def test_who_is_not_back_since_the_term_began_has_the_lag_limit_for_it():
    one = Leading(log=local(1))
    assert one.tell(ev.Ticked(), after_ms=30_000) == ()
    one.tell(ev.Ticked(), after_ms=1)
    assert one.state.proposal.members == (1,)


def test_the_leader_never_leaves_by_itself():
    one = Leading(log=local(1), given=assignment(epoch=5, isr=(1,)))
    assert one.tell(ev.Ticked(), after_ms=90_000) == ()


# -- answers -----------------------------------------------------------------------------------------------------


def proposing():
    one = alone()
    one.fetch(2, 4)
    return one


def test_success_makes_the_proposal_the_isr():
    one = proposing()
    one.answer()
    assert one.state.assignment.isr == (1, 2)
    assert one.state.proposal is None


@pytest.mark.parametrize("code", [Code.INELIGIBLE_REPLICA, Code.INVALID_REQUEST])
def test_a_refusal_is_withdrawn_and_no_copy_of_it_can_be_taken_then(code):
    one = proposing()
    one.answer(code)
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 0, ((1, 11),))]
    assert one.state.maximal_isr == {1, 2}
    one.answer()
    assert (one.state.proposal, one.state.maximal_isr) == (None, {1})
    one.fetch(2, 4)
    assert one.state.proposal.members == (1, 2), "the next fetch may bring it up again"


@pytest.mark.parametrize(
    "code",
    [
        Code.INVALID_UPDATE_VERSION,
        Code.FENCED_LEADER_EPOCH,
        Code.NEW_LEADER_ELECTED,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
    ],
)
def test_a_controller_that_is_ahead_is_waited_for(code):
    """Both ISRs are reckoned with until the metadata is here; nothing is asked meanwhile."""
    one = proposing()
    one.answer(code)
    assert one.state.proposal.overtaken
    assert one.state.maximal_isr == {1, 2}
    assert one.tell(ev.Ticked(), after_ms=10_000) == ()
    one.tell(ev.Assigned(assignment(epoch=5, isr=(1, 3), partition_epoch=4)))
    assert one.state.proposal is None
    assert one.state.maximal_isr == {1, 3}


@pytest.mark.parametrize("code", [Code.NOT_CONTROLLER, Code.STALE_BROKER_EPOCH, Code.REQUEST_TIMED_OUT])
def test_an_answer_that_settles_nothing_is_asked_for_again(code):
    one = proposing()
    before = one.state
    assert one.answer(code) == ()
    assert one.state == before
    assert one.tell(ev.Ticked(), after_ms=2_000) == (do.ProposeIsr(5, 0, ((1, 11), (2, 12))),)


def test_a_lost_answer_is_asked_for_again_and_again():
    one = proposing()
    assert one.tell(ev.Ticked(), after_ms=1_999) == ()
    for _ in range(3):
        assert len(one.tell(ev.Ticked(), after_ms=2_000)) == 1


def test_an_answer_that_comes_twice_counts_once():
    one = proposing()
    one.answer()
    newer = one.state.assignment
    one.fetch(3, 4)
    assert one.ignores(ev.ProposalAnswered(Code.NONE, 5, 0, newer))
    assert one.ignores(ev.ProposalAnswered(Code.INELIGIBLE_REPLICA, 5, 0))
    assert one.state.proposal.members == BROKERS


@pytest.mark.parametrize(("leader_epoch", "partition_epoch"), [(4, 0), (6, 0), (5, 1)])
def test_an_answer_to_another_proposal_is_ignored(leader_epoch, partition_epoch):
    one = proposing()
    assert one.ignores(ev.ProposalAnswered(Code.INELIGIBLE_REPLICA, leader_epoch, partition_epoch))


def test_an_answer_to_nothing_is_ignored():
    assert alone().ignores(ev.ProposalAnswered(Code.INELIGIBLE_REPLICA, 5, 0))


def test_metadata_may_come_before_the_answer():
    one = proposing()
    newer = replace(one.state.assignment, isr=(1, 2), partition_epoch=1)
    one.tell(ev.Assigned(newer))
    assert one.state.proposal is None
    assert one.ignores(ev.ProposalAnswered(Code.NONE, 5, 0, newer))


def test_an_answer_that_tells_of_a_newer_term_takes_no_role():
    """Roles come with the metadata: a broker hears of all its partitions in one order."""
    one = proposing()
    newer = assignment(leader=2, epoch=6, isr=(2,), partition_epoch=1)
    one.tell(ev.ProposalAnswered(Code.NONE, 5, 0, newer))
    assert one.effects == ()
    assert one.state.assignment.leader_epoch == 5
    assert one.state.proposal.overtaken


# -- replicas come and go ----------------------------------------------------------------------------------------


def test_a_replica_that_is_added_is_known_and_one_that_is_removed_forgotten():
    one = alone()
    one.fetch(2, 4)
    now = replace(one.state.assignment, replicas=(1, 2, 4), partition_epoch=1)
    one.tell(ev.Assigned(now))
    assert [(p.follower, p.log_end_offset) for p in one.state.followers] == [(2, 4), (4, -1)]
    one.tell(ev.Requested(one.request(3, 4)))
    assert one.asked(do.SendReply)[0].reply.code is Code.NOT_LEADER_OR_FOLLOWER
