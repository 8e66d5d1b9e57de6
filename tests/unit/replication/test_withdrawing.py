"""A proposal that the controller refuses: another copy of it may be under way, and must win nothing after all."""

from __future__ import annotations

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication.codes import Code
from support.replicas import assignment
from support.roles import Leading


def refused():
    """Replica 1 alone in sync; it has proposed 2, sent that twice, and was refused once."""
    one = Leading(given=assignment(epoch=5, isr=(1,)))
    one.append(2)
    one.fetch(2, 2)
    (first,) = one.asked(do.ProposeIsr)
    assert first.isr == ((1, 11), (2, 12))
    assert one.tell(ev.Ticked(), after_ms=2_000) == (first,)
    one.answer(Code.INELIGIBLE_REPLICA)
    return one


def test_who_was_refused_counts_as_in_sync_until_no_copy_can_be_taken():
    one = refused()
    (confirming,) = one.asked(do.ProposeIsr)
    assert (confirming.isr, confirming.partition_epoch) == (((1, 11),), 0)
    one.append(1)
    assert one.mark == 2, "replica 2 has not fetched it"
    newer = assignment(epoch=5, isr=(1,), partition_epoch=1)
    one.answer(newer=newer)
    assert one.state.proposal is None
    one.tell(ev.BrokersChanged(((1, 11),)))
    assert one.mark == 3


def test_the_copy_that_is_taken_wins():
    """The second copy finds the broker back: the leader hears of it from the metadata, and has lost nothing by then."""
    one = refused()
    one.append(1)
    one.tell(ev.Assigned(assignment(epoch=5, isr=(1, 2), partition_epoch=1)))
    assert one.state.proposal is None
    assert one.mark == 2
    one.fetch(2, 3)
    assert one.mark == 3


def test_the_second_refusal_says_nothing_new():
    one = refused()
    assert one.ignores(ev.ProposalAnswered(Code.INELIGIBLE_REPLICA, 5, 0))


def test_the_withdrawal_is_asked_for_until_it_is_answered():
    one = refused()
    (confirming,) = one.asked(do.ProposeIsr)
    for _ in range(2):
        assert one.tell(ev.Ticked(), after_ms=2_000) == (confirming,)
        assert one.state.maximal_isr == {1, 2}
