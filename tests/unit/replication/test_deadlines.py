"""When a leader wants to be asked what time it is: never later than needed, and never again for what it has seen."""

from __future__ import annotations

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import machine
from kstore.replication.codes import Code
from kstore.replication.state import Local, Rules
from support.replicas import assignment
from support.roles import Leading

LAG_MS = 30_000


def test_a_lagging_member_is_looked_at_when_the_lag_limit_has_passed():
    one = Leading()
    one.append(timeout_ms=60_000)
    assert one.state.next_deadline_ms() == one.now_ms + LAG_MS + 1
    one.tell(ev.Ticked(), after_ms=LAG_MS + 1)
    (proposal,) = one.asked(do.ProposeIsr)
    assert proposal.isr == ((1, 11),)
    assert one.state.next_deadline_ms() == one.now_ms + 2_000, "when the proposal is asked again"


def test_who_has_left_is_not_looked_at_again():
    """Otherwise a partition with one dead replica would keep its broker busy for ever."""
    one = Leading(given=assignment(epoch=5, isr=(1, 2)))
    one.append(acks=0)
    one.tell(ev.Ticked(), after_ms=LAG_MS + 1)
    one.answer()
    assert one.state.assignment.isr == (1,)
    assert one.state.next_deadline_ms() is None


def test_a_member_that_lags_while_something_else_is_proposed_is_looked_at_afterwards():
    one = Leading(given=assignment(epoch=5, isr=(1, 2)))
    one.append(acks=0)
    one.tell(ev.Ticked(), after_ms=LAG_MS)
    one.fetch(3, 1)
    assert one.state.proposal is not None
    one.tell(ev.Ticked(), after_ms=1)
    one.answer()
    assert one.state.assignment.isr == (1, 2, 3)
    assert one.state.next_deadline_ms() <= one.now_ms
    one.tell(ev.Ticked())
    (proposal,) = one.asked(do.ProposeIsr)
    assert proposal.isr == ((1, 11), (3, 13))


def test_whoever_may_be_about_to_join_is_waited_for_no_longer_than_the_lag_limit():
    one = Leading(given=assignment(epoch=5, isr=(1, 2)))
    one.fetch(3, 0)
    one.answer(Code.INELIGIBLE_REPLICA)
    one.answer(newer=assignment(epoch=5, isr=(1, 2), partition_epoch=1))
    one.append(timeout_ms=90_000)
    one.fetch(2, 1)
    assert one.mark == 0, "replica 3 was in step a moment ago and may be taken next time"
    due = one.state.next_deadline_ms()
    assert due == one.now_ms + LAG_MS + 1
    one.tell(ev.Ticked(), after_ms=due - one.now_ms)
    assert one.mark == 1
    assert one.state.next_deadline_ms() is None


def test_requests_of_different_lives_never_share_a_number():
    """A late answer to the life before, which had more records, must not be taken for one's own."""
    numbers = [machine.start(2, epoch, Rules(), Local()).number for epoch in (-1, 0, 1, 2)]
    assert numbers[0] == numbers[1] == 0
    assert numbers[2] - numbers[1] == numbers[3] - numbers[2] >= 1 << 32
