"""The leader, rule by rule: what is committed, who is answered, what followers hear."""

from __future__ import annotations

import pytest

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import leading
from kstore.replication.codes import Code
from kstore.replication.leading import Leader
from kstore.replication.state import Rules, Sync
from support.replicas import assignment
from support.roles import Leading, lineage, local, unsynced

# -- taking and giving up the lead -------------------------------------------------------------------------------


def test_a_term_begins_at_the_log_end_and_on_the_medium():
    one = Leading(log=local(4, mark=2, epochs=((1, 0), (3, 3))))
    assert one.effects[0] == do.AssignEpoch(5, 4)
    assert one.state.epoch_start_offset == 4
    assert one.local.lineage == lineage((1, 0), (3, 3), (5, 4))


def test_an_epoch_without_records_gives_way_to_the_next():
    """KAFKA-7415's ground: two epochs never start at one offset."""
    one = Leading(log=local(4, epochs=((1, 0), (3, 4))))
    assert one.local.lineage == lineage((1, 0), (5, 4))


def test_what_earlier_terms_knew_of_followers_does_not_count():
    one = Leading(rules=unsynced())
    one.append(2)
    one.fetch(2, 2)
    one.tell(ev.Assigned(assignment(epoch=6, isr=(1, 2), partition_epoch=1)))
    assert [p.log_end_offset for p in one.state.followers] == [-1, -1]
    assert one.mark == 0


def test_a_leader_syncs_what_it_found_in_its_log():
    one = Leading(log=local(4, durable=1))
    assert one.asked(do.RequestSync) == [do.RequestSync(4)]
    assert Leading(rules=unsynced(), log=local(4, durable=1)).asked(do.RequestSync) == []


@pytest.mark.parametrize("leader", [2, -1])
def test_who_loses_the_lead_answers_all_that_wait(leader):
    one = Leading()
    token = one.append()
    isr = (2, 3) if leader == 2 else ()
    one.tell(ev.Assigned(assignment(leader=leader, epoch=6, isr=isr, partition_epoch=1)))
    assert one.acknowledged == [(token, Code.NOT_LEADER_OR_FOLLOWER)]
    assert not isinstance(one.state, Leader)


def test_a_leader_that_was_elected_uncleanly_says_that_it_has_recovered():
    one = Leading(log=local(4), given=assignment(epoch=5, isr=(1,), recovering=True, unclean_epoch=5))
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 0, ((1, 11),), recovering=False)]
    one.fetch(2, 4)
    assert one.asked(do.ProposeIsr) == [], "and lets nobody in before that"
    one.answer()
    one.fetch(2, 4)
    assert one.state.proposal.members == (1, 2)


def test_it_says_so_again_when_other_metadata_came_between():
    one = Leading(log=local(4), given=assignment(epoch=5, isr=(1,), recovering=True, unclean_epoch=5))
    newer = assignment(epoch=5, isr=(1,), partition_epoch=3, recovering=True, unclean_epoch=5)
    one.tell(ev.Assigned(newer))
    assert one.asked(do.ProposeIsr) == [do.ProposeIsr(5, 3, ((1, 11),), recovering=False)]


# -- the high watermark ------------------------------------------------------------------------------------------


def test_the_high_watermark_is_the_shortest_log_in_sync():
    one = Leading()
    one.append(5)
    one.fetch(2, 5)
    assert one.mark == 0
    one.fetch(3, 3)
    assert one.mark == 3


def test_who_is_not_in_sync_does_not_hold_it_back():
    one = Leading(log=local(4, mark=4), given=assignment(epoch=5, isr=(1, 2)))
    one.append(1)
    one.fetch(3, 3)
    one.fetch(2, 5)
    assert one.mark == 5


def test_it_does_not_fall_when_a_follower_goes_back():
    one = Leading()
    one.append(5)
    one.fetch(2, 5)
    one.fetch(3, 5)
    one.fetch(3, 2)
    assert one.mark == 5


def test_who_is_proposed_for_the_isr_counts_before_the_controller_has_answered():
    """Maximal ISR: the proposal may have been taken already (KAFKA-13835's ground, KIP-497)."""
    one = Leading(rules=unsynced(), given=assignment(epoch=5, isr=(1, 2)))
    one.append(2)
    one.fetch(2, 2)
    one.fetch(3, 2)
    assert one.state.proposal.members == (1, 2, 3)
    one.append(2)
    one.fetch(2, 4)
    assert one.mark == 2
    one.fetch(3, 4)
    assert one.mark == 4


def test_who_is_proposed_to_leave_counts_until_the_controller_has_answered():
    one = Leading()
    one.append(5)
    one.fetch(2, 5)
    one.tell(ev.Ticked(), after_ms=29_999)
    one.fetch(2, 5)
    one.tell(ev.Ticked(), after_ms=2)
    assert one.state.proposal.members == (1, 2)
    assert one.mark == 0
    one.answer()
    assert one.mark == 5


def test_who_is_about_to_join_holds_it_back():
    """Else it would never catch up with a busy leader (Partition.maybeIncrementLeaderHW)."""
    one = Leading(given=assignment(epoch=5, isr=(1,)))
    one.append(2)
    one.fetch(2, 2)
    one.answer(Code.INELIGIBLE_REPLICA)
    one.answer()  # the withdrawal
    assert one.state.proposal is None
    one.append(1)
    assert one.mark == 2
    one.tell(ev.Ticked(), after_ms=30_001)
    assert one.mark == 3, "not for longer than the lag limit"


def test_who_is_about_to_join_but_is_not_eligible_does_not():
    """KIP-903: the fetches came from an earlier life, or the broker is fenced."""
    one = Leading(given=assignment(epoch=5, isr=(1,)), eligible=((1, 11), (2, 99), (3, 13)))
    one.append(2)
    one.fetch(2, 2)
    one.append(1)
    assert one.mark == 3


def test_below_the_minimum_nothing_is_committed():
    """Strict min ISR (KIP-966): an acknowledgement with acks=1 stands, consumers wait."""
    one = Leading(rules=Rules(min_insync_replicas=2), given=assignment(epoch=5, isr=(1,)))
    one.append(3, acks=1)
    assert one.mark == 0
    one.fetch(2, 3)
    one.answer()
    assert one.mark == 3


def test_the_minimum_is_at_most_the_number_of_replicas():
    one = Leading(rules=Rules(min_insync_replicas=9))
    assert one.state.min_isr == 3


def test_the_leaders_own_copy_counts_once_it_is_on_the_medium():
    one = Leading(given=assignment(epoch=5, isr=(1,)))
    one.append(3, synced=False)
    assert one.mark == 0
    one.tell(ev.Synced(2))
    assert one.mark == 2


def test_with_sync_acks_consumers_are_served_before_the_fsync_and_producers_after_it():
    one = Leading(rules=Rules(sync=Sync.ACKS), given=assignment(epoch=5, isr=(1,)))
    token = one.append(3, synced=False)
    assert (one.mark, one.acknowledged) == (3, [])
    one.tell(ev.Synced(3))
    assert one.acknowledged == [(token, Code.NONE)]
    one.append(1, acks=1, synced=False)
    assert one.asked(do.RequestSync) == []


def test_an_fsync_of_bytes_that_are_not_there_counts_for_those_that_are():
    one = Leading()
    one.append(3, synced=False)
    one.tell(ev.Synced(99))
    assert one.local.durable_offset == 3
    one.tell(ev.Synced(1))
    assert one.local.durable_offset == 3


# -- acknowledgements --------------------------------------------------------------------------------------------


def test_acks_all_waits_for_every_member_in_order():
    one = Leading()
    first, second = one.append(2), one.append(1)
    one.fetch(2, 3)
    assert one.acknowledged == []
    one.fetch(3, 2)
    assert one.acknowledged == [(first, Code.NONE)]
    one.fetch(3, 3)
    assert one.acknowledged == [(second, Code.NONE)]


def test_acks_one_is_answered_at_once_and_acks_none_never():
    one = Leading()
    token = one.append(acks=1, synced=False)
    assert one.acknowledged == [(token, Code.NONE)]
    one.append(acks=0)
    assert one.acknowledged == []


def test_acks_all_times_out_at_its_deadline_and_is_not_answered_twice():
    one = Leading()
    token = one.append(timeout_ms=5_000)
    assert one.tell(ev.Ticked(), after_ms=4_999) == ()
    assert one.tell(ev.Ticked(), after_ms=1) == (do.Acknowledge(token, Code.REQUEST_TIMED_OUT),)
    one.fetch(2, 1)
    one.fetch(3, 1)
    assert one.mark == 1
    assert one.acknowledged == []


def test_replicated_but_with_too_few_in_sync_by_then_is_said():
    """NOT_ENOUGH_REPLICAS_AFTER_APPEND (R8): the mark had passed it when the ISR became too small."""
    one = Leading(rules=Rules(min_insync_replicas=2, sync=Sync.ACKS), given=assignment(epoch=5, isr=(1, 2)))
    token = one.append(1, synced=False)
    one.fetch(2, 1)
    assert (one.mark, one.acknowledged) == (1, [])
    one.tell(ev.Assigned(assignment(epoch=5, isr=(1,), partition_epoch=1)))
    one.tell(ev.Synced(1))
    assert one.acknowledged == [(token, Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND)]


def test_acks_all_is_refused_before_it_is_tried_below_the_minimum():
    one = Leading(rules=Rules(min_insync_replicas=2), given=assignment(epoch=5, isr=(1,)))
    assert leading.refusal(one.state, -1) is Code.NOT_ENOUGH_REPLICAS
    assert leading.refusal(one.state, 1) is Code.NONE
    one.fetch(2, 0)
    assert leading.refusal(one.state, -1) is Code.NOT_ENOUGH_REPLICAS, "a proposal is no promise"
    one.answer()
    assert leading.refusal(one.state, -1) is Code.NONE


# -- what followers hear -----------------------------------------------------------------------------------------


def test_a_fetch_is_answered_with_the_marks_and_the_bytes_from_its_offset():
    one = Leading(log=local(4, mark=2, start=1, epochs=((1, 1),)))
    reply = one.fetch(2, 3)
    assert (reply.code, reply.high_watermark, reply.log_start_offset) == (Code.NONE, 2, 1)
    assert one.asked(do.SendReply)[0].read_offset == 3


@pytest.mark.parametrize("offset", [0, 5])
def test_a_fetch_from_outside_the_log_is_out_of_range_and_no_progress(offset):
    one = Leading(log=local(4, mark=1, start=1, epochs=((1, 1),)))
    assert one.fetch(2, offset).code is Code.OFFSET_OUT_OF_RANGE
    assert one.state.progress(2).log_end_offset == -1


@pytest.mark.parametrize(("epoch", "code"), [(4, Code.FENCED_LEADER_EPOCH), (6, Code.UNKNOWN_LEADER_EPOCH)])
def test_another_epoch_is_fenced_or_unknown_and_changes_nothing(epoch, code):
    """KIP-320, R3, I15."""
    one = Leading(log=local(4))
    before = one.state
    assert one.fetch(2, 4, leader_epoch=epoch).code is code
    for request in (ev.EpochEndRequest(2, 1, epoch, 1), ev.OffsetsRequest(2, 1, epoch)):
        one.tell(ev.Requested(request))
        assert one.asked(do.SendReply)[0].reply.code is code
    assert one.state == before


@pytest.mark.parametrize(
    ("last_epoch", "offset", "parts"),
    [
        (1, 2, None),
        (1, 3, (1, 2)),
        (2, 4, (1, 2)),
        (3, 4, None),
        (3, 5, (3, 4)),
        (4, 6, (3, 4)),
        (5, 6, None),
        (0, 1, (0, 0)),
    ],
)
def test_a_fetch_says_where_the_logs_part(last_epoch, offset, parts):
    """KIP-595: the newest epoch that is not above the follower's, and where it ends at the leader."""
    one = Leading(log=local(4, epochs=((1, 0), (3, 2))))
    one.append(2)
    reply = one.fetch(2, offset, last_fetched_epoch=last_epoch)
    assert reply.code is Code.NONE
    if parts is None:
        assert reply.diverging_epoch == -1
        assert one.state.progress(2).log_end_offset == offset
    else:
        assert (reply.diverging_epoch, reply.diverging_end_offset) == parts
        assert one.state.progress(2).log_end_offset == -1, "a log that parts has replicated nothing"
        assert reply.high_watermark == -1


def test_a_last_epoch_above_all_is_out_of_range():
    assert Leading(log=local(4)).fetch(2, 4, last_fetched_epoch=7).code is Code.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("asked", "answer"), [(1, (1, 2)), (2, (1, 2)), (3, (3, 4)), (4, (3, 4)), (5, (5, 4)), (6, (-1, -1)), (0, (0, 0))]
)
def test_where_an_epoch_ends(asked, answer):
    """OffsetForLeaderEpoch (KIP-101, KIP-279): the newest epoch not above the one asked for, and its end."""
    one = Leading(log=local(4, epochs=((1, 0), (3, 2))))
    one.tell(ev.Requested(ev.EpochEndRequest(2, 8, 5, asked)))
    assert one.asked(do.SendReply)[0].reply == ev.EpochEndReply(1, 8, Code.NONE, *answer)


def test_where_the_log_lies():
    one = Leading(log=local(4, mark=2, start=1, epochs=((1, 1),)))
    one.tell(ev.Requested(ev.OffsetsRequest(2, 8, 5)))
    assert one.asked(do.SendReply)[0].reply == ev.OffsetsReply(1, 8, Code.NONE, 1, 4)


def test_a_stranger_is_answered_that_it_is_in_the_wrong_place():
    one = Leading(given=assignment(epoch=5))
    one.tell(ev.Requested(ev.FetchRequest(9, 19, 1, 5, 0, -1, 0)))
    assert one.asked(do.SendReply)[0].reply.code is Code.NOT_LEADER_OR_FOLLOWER
    for request in (ev.EpochEndRequest(9, 1, 5, 1), ev.OffsetsRequest(9, 1, 5)):
        one.tell(ev.Requested(request))
        assert one.asked(do.SendReply)[0].reply.code is Code.NOT_LEADER_OR_FOLLOWER


# -- what a broker asks ------------------------------------------------------------------------------------------


def test_the_end_is_not_told_before_the_mark_has_reached_the_term():
    """KIP-207, R9: an earlier leader may have told more than this one's mark."""
    one = Leading(log=local(4, mark=2))
    assert leading.latest_offset(one.state) == (Code.OFFSET_NOT_AVAILABLE, -1)
    one.fetch(2, 4)
    one.fetch(3, 4)
    assert leading.latest_offset(one.state) == (Code.NONE, 4)


def test_the_low_watermark_is_the_lowest_start_of_the_living():
    one = Leading(log=local(4, mark=4))
    one.tell(ev.LogStartRaised(3))
    assert leading.low_watermark(one.state) == -1, "not known of all yet"
    one.fetch(2, 4, log_start_offset=2)
    one.fetch(3, 4, log_start_offset=1)
    assert leading.low_watermark(one.state) == 1
    one.tell(ev.BrokersChanged(((1, 11), (2, 12))))
    assert leading.low_watermark(one.state) == 2
    one.fetch(2, 4, log_start_offset=4)
    assert leading.low_watermark(one.state) == 3


def test_a_raised_start_takes_its_epochs_along_and_never_falls():
    one = Leading(log=local(4, mark=4, epochs=((1, 0), (3, 2))))
    one.tell(ev.LogStartRaised(3))
    assert one.local.lineage == lineage((3, 3), (5, 4))
    assert one.ignores(ev.LogStartRaised(1))
