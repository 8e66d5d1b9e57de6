"""The follower, rule by rule: what it asks, what it believes, where it cuts."""

from __future__ import annotations

import pytest

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.follower import Phase
from kstore.replication.state import BatchInfo, Local, Rules
from support.replicas import assignment
from support.roles import Following, lineage, local, unsynced

ASKING_FIRST = Rules(truncate_on_fetch=False)

# -- asking ------------------------------------------------------------------------------------------------------


def test_it_asks_from_its_end_with_its_last_epoch():
    one = Following(log=local(4, mark=2, epochs=((1, 0), (3, 2))))
    assert one.request == ev.FetchRequest(2, 12, one.state.number, 5, 4, 3, 0)
    assert one.asked(do.SendRequest)[0].to == 1


def test_a_log_without_epochs_names_none():
    assert Following().request.last_fetched_epoch == -1


def test_it_says_how_far_it_is_only_once_that_is_on_the_medium():
    """Invariant 2: a fetch offset is a promise."""
    one = Following(log=local(4, durable=1))
    assert one.effects == (do.RequestSync(4),)
    assert one.state.phase is Phase.SYNCING
    assert one.tell(ev.Synced(3)) == ()
    one.tell(ev.Synced(4))
    assert one.request.offset == 4


def test_kafkas_own_rules_do_not_wait_for_it():
    assert Following(rules=unsynced(), log=local(4, durable=1)).request.offset == 4


def test_an_answer_that_does_not_come_is_asked_for_again_under_a_new_number():
    one = Following()
    first = one.request
    assert one.state.next_deadline_ms() == one.now_ms + 30_000
    assert one.ignores(ev.Ticked(), after_ms=29_999)
    one.tell(ev.Ticked(), after_ms=1)
    assert one.request.number == first.number + 1
    assert one.request.offset == first.offset


def test_an_error_is_followed_by_a_pause():
    one = Following()
    assert one.fetched(code=Code.NOT_LEADER_OR_FOLLOWER) == ()
    assert one.state.phase is Phase.PAUSED
    assert one.state.next_deadline_ms() == one.now_ms + 1_000
    one.tell(ev.Ticked(), after_ms=1_000)
    assert one.state.phase is Phase.FETCHING


@pytest.mark.parametrize("code", [Code.FENCED_LEADER_EPOCH, Code.UNKNOWN_LEADER_EPOCH, Code.KAFKA_STORAGE_ERROR])
def test_errors_change_nothing_in_the_log(code):
    one = Following(log=local(4, mark=2))
    before = one.local
    one.fetched((4, 5, 5), code=code, mark=5)
    assert one.local == before


@pytest.mark.parametrize("given", [assignment(leader=-1, epoch=5, isr=()), assignment(leader=2, epoch=5)])
def test_without_a_leader_there_is_nobody_to_ask(given):
    one = Following(given=assignment(epoch=4))
    one.tell(ev.Assigned(given))
    assert one.asked(do.SendRequest) == []


def test_who_is_no_replica_any_more_does_not_ask_and_begins_again_as_one():
    one = Following(given=assignment(epoch=5))
    moved = assignment(epoch=5, isr=(1, 3), partition_epoch=1)
    away = type(moved)(1, 5, 1, (1, 3), (1, 3))
    assert one.tell(ev.Assigned(away)) == ()
    assert one.state.phase is Phase.IDLE
    one.tell(ev.Assigned(assignment(epoch=5, isr=(1, 3), partition_epoch=2)))
    assert one.state.phase is Phase.FETCHING


# -- appending ---------------------------------------------------------------------------------------------------


def test_what_was_fetched_is_appended_then_synced_then_told():
    one = Following()
    effects = one.fetched((0, 2, 5), (2, 3, 5), mark=1)
    assert effects == (do.AppendBatches((BatchInfo(0, 2, 5), BatchInfo(2, 3, 5))), do.RequestSync(3))
    assert (one.mark, one.local.lineage) == (0, lineage((5, 0)))
    effects = one.tell(ev.Synced(3))
    assert effects[0] == do.AdvanceHighWatermark(1)
    assert one.request.offset == 3


def test_the_mark_follows_the_leaders_as_far_as_the_log_reaches():
    one = Following(rules=unsynced())
    one.fetched((0, 2, 5), mark=9)
    assert one.mark == 2
    one.fetched((2, 4, 5), mark=3)
    assert one.mark == 3
    one.fetched(mark=1)
    assert one.mark == 3, "and does not fall with a new leader's"


def test_epochs_are_noted_where_they_begin():
    one = Following(rules=unsynced())
    one.fetched((0, 1, 2), (1, 3, 4), (3, 4, 5))
    assert one.local.lineage == lineage((2, 0), (4, 1), (5, 3))


def test_the_log_start_follows_the_leaders_up_to_the_mark():
    """R14: start, mark and epochs move together."""
    one = Following(rules=unsynced())
    one.fetched((0, 2, 4), (2, 4, 5), mark=3, start=9)
    assert do.RaiseLogStart(3) in one.effects
    assert (one.local.log_start_offset, one.local.lineage) == (3, lineage((5, 3)))


@pytest.mark.parametrize(
    "batches",
    [((3, 5, 1),), ((4, 5, 6),), ((4, 5, 0),), ((4, 5, 5), (4, 6, 5)), ((4, 5, 5), (5, 6, 4)), ((4, 4, 5),)],
    ids=["before its end", "above its epoch", "below its last", "overlapping", "epochs fall", "empty"],
)
def test_what_does_not_continue_the_log_is_not_appended(batches):
    """R13, I11, KAFKA-18723: nothing is stored, and the thread lives."""
    one = Following(log=local(4, mark=2))
    before = one.local
    assert one.fetched(*batches, mark=4) == ()
    assert (one.local, one.state.phase) == (before, Phase.PAUSED)


def test_offsets_may_leave_gaps_as_compaction_does():
    one = Following(log=local(4, mark=2))
    one.fetched((6, 7, 5), mark=4)
    assert one.local.log_end_offset == 7


def test_a_corrupt_answer_is_asked_for_again():
    """KAFKA-4384."""
    one = Following(log=local(4, mark=2))
    assert one.fetched(corrupt=True, mark=4) == ()
    assert (one.mark, one.state.phase) == (2, Phase.PAUSED)


@pytest.mark.parametrize("late", [-1, 1])
def test_an_answer_to_another_request_is_ignored(late):
    one = Following()
    reply = ev.FetchReply(1, one.state.number + late, Code.NONE, 1, 0)
    assert one.ignores(ev.Fetched(reply, (BatchInfo(0, 1, 5),)))


def test_an_answer_that_comes_twice_counts_once():
    one = Following(rules=unsynced())
    reply = ev.FetchReply(1, one.state.number, Code.NONE, 1, 0)
    one.tell(ev.Fetched(reply, (BatchInfo(0, 1, 5),)))
    assert one.ignores(ev.Fetched(reply, (BatchInfo(0, 1, 5),)))


# -- where the logs part -----------------------------------------------------------------------------------------

OWN = ((1, 0), (3, 2), (4, 5))
"""Seven records: 0 and 1 of epoch 1, 2 to 4 of epoch 3, 5 and 6 of epoch 4."""

PARTINGS = [
    pytest.param((4, 6), 6, True, id="the leader's part of the epoch is shorter"),
    pytest.param((3, 3), 3, True, id="an older epoch, shorter at the leader"),
    pytest.param((3, 9), 5, True, id="an older epoch, longer at the leader"),
    pytest.param((2, 4), 2, False, id="an epoch that it never had: its own above go, and it asks again"),
    pytest.param((1, 2), 2, True, id="as far as both know"),
    pytest.param((0, 0), 0, True, id="before everything that it has"),
    pytest.param((0, 5), 0, True, id="an older epoch than all of its own, longer than its log's start"),
]


@pytest.mark.parametrize(("parts", "end", "done"), PARTINGS)
def test_it_cuts_where_the_logs_part(parts, end, done):
    """KIP-279, by what the fetch says (KIP-595)."""
    one = Following(log=local(7, epochs=OWN))
    one.fetched(parts=parts)
    assert one.asked(do.Truncate) == [do.Truncate(end)]
    assert one.local.log_end_offset == end
    assert one.request.offset == end, "in either case the fetch that follows shows whether that was enough"


@pytest.mark.parametrize(("parts", "end", "done"), PARTINGS)
def test_it_cuts_where_the_logs_part_when_it_asks_before_it_fetches(parts, end, done):
    """KIP-101 and KIP-279, by OffsetForLeaderEpoch: asked until the common point is found, and only then fetched."""
    one = Following(log=local(7, epochs=OWN), rules=ASKING_FIRST)
    assert one.request == ev.EpochEndRequest(2, one.state.number, 5, 4)
    one.told_end(*parts)
    assert one.local.log_end_offset == end
    if done:
        assert one.request.offset == end
        assert one.request.last_fetched_epoch == -1
    else:
        assert one.request == ev.EpochEndRequest(2, one.state.number, 5, 1)


def test_many_steps_lead_to_the_common_point():
    """Two fast fail-overs: epochs 2 and 4 are the follower's alone, 3 and 5 the leader's (KAFKA-7164, R2)."""
    one = Following(log=local(6, epochs=((1, 0), (2, 2), (4, 4))))
    one.fetched(parts=(3, 5))
    assert one.request.last_fetched_epoch == 2
    assert one.request.offset == 4
    one.fetched(parts=(1, 3))
    assert (one.request.last_fetched_epoch, one.request.offset) == (1, 2)
    one.fetched((2, 3, 1), (3, 5, 3), (5, 6, 5), mark=6)
    assert one.local.lineage == lineage((1, 0), (3, 3), (5, 5))


def test_an_answer_that_says_where_the_logs_part_moves_no_mark():
    """KAFKA-14704, R4: what it says of the mark is about a log that this one is not yet."""
    one = Following(log=local(7, mark=2, epochs=OWN))
    one.fetched(parts=(3, 4), mark=4, start=3)
    assert (one.mark, one.local.log_start_offset) == (2, 0)


def test_below_the_mark_it_stops_instead_of_cutting():
    """I9; Kafka only warns (KAFKA-19474)."""
    one = Following(log=local(7, mark=4, epochs=OWN))
    (halt,) = one.fetched(parts=(3, 3))
    assert (type(halt), halt.invariant) == (do.Halt, "I9")
    assert one.state.phase is Phase.HALTED
    assert one.local.log_end_offset == 7
    assert one.state.next_deadline_ms() is None
    assert one.ignores(ev.Ticked(), after_ms=90_000)
    assert one.tell(ev.Assigned(assignment(epoch=5, isr=(1, 3), partition_epoch=1))) == ()
    one.tell(ev.Assigned(assignment(leader=3, epoch=6, isr=(3,), partition_epoch=2)))
    assert one.state.phase is Phase.FETCHING


@pytest.mark.parametrize(("unclean_epoch", "cuts"), [(5, True), (4, False), (3, False)])
def test_an_unclean_election_allows_it_to_who_has_not_followed_that_yet(unclean_epoch, cuts):
    one = Following(log=local(7, mark=4, epochs=OWN), given=assignment(epoch=5, unclean_epoch=unclean_epoch))
    one.fetched(parts=(3, 3))
    if cuts:
        assert one.asked(do.Truncate) == [do.Truncate(3, unclean=True)]
        assert (one.mark, one.local.log_end_offset) == (3, 3)
    else:
        assert one.state.phase is Phase.HALTED


def test_an_unclean_cut_below_the_log_start_starts_over():
    given = assignment(epoch=5, unclean_epoch=5)
    one = Following(log=local(7, mark=4, start=3, epochs=((1, 3), (4, 5))), given=given)
    one.fetched(parts=(0, 1))
    assert one.asked(do.StartOver) == [do.StartOver(1)]
    assert one.local == Local(1, 1, 1, 1)


def test_what_was_damaged_and_cut_is_whole_again():
    one = Following(log=local(7, epochs=OWN, damaged_offset=5))
    one.fetched(parts=(3, 4))
    assert one.local.damaged_offset == -1


def test_a_log_without_epochs_keeps_only_what_is_committed():
    one = Following(log=Local(0, 4, 4, 2))
    assert one.effects[0] == do.Truncate(2)
    assert one.request.offset == 2


def test_a_leader_that_knows_none_of_its_epochs_leaves_it_what_is_committed():
    one = Following(log=local(7, mark=3, epochs=OWN), rules=ASKING_FIRST)
    one.told_end(-1, -1)
    assert one.asked(do.Truncate) == [do.Truncate(3)]
    assert one.request.offset == 3


def test_an_error_leaves_the_question_open():
    one = Following(log=local(7, epochs=OWN), rules=ASKING_FIRST)
    assert one.told_end(-1, -1, Code.UNKNOWN_LEADER_EPOCH) == ()
    one.tell(ev.Ticked(), after_ms=1_000)
    assert isinstance(one.request, ev.EpochEndRequest)


def test_every_term_asks_anew_where_the_logs_part():
    one = Following(log=local(7, epochs=OWN), rules=ASKING_FIRST)
    one.told_end(4, 7)
    assert isinstance(one.request, ev.FetchRequest)
    one.tell(ev.Assigned(assignment(leader=3, epoch=6, partition_epoch=1)))
    assert isinstance(one.request, ev.EpochEndRequest)


# -- out of range ------------------------------------------------------------------------------------------------


def out_of_range(**more):
    one = Following(log=local(7, mark=2, epochs=OWN), **more)
    one.fetched(code=Code.OFFSET_OUT_OF_RANGE)
    assert one.request == ev.OffsetsRequest(2, one.state.number, 5)
    return one


def test_when_the_leader_begins_above_its_end_it_starts_over():
    """R14, KAFKA-9491: log, start, mark and producers go together."""
    one = out_of_range()
    one.told_offsets(9, 12)
    assert one.asked(do.StartOver) == [do.StartOver(9)]
    assert one.local == Local(9, 9, 9, 9)
    assert (one.request.offset, one.request.last_fetched_epoch) == (9, -1)


def test_when_the_leader_begins_inside_a_batch_so_does_it():
    """KAFKA-6975: DeleteRecords to 9 left the leader with a batch of 8 to 10."""
    one = out_of_range()
    one.told_offsets(9, 12)
    effects = one.fetched((8, 11, 4), (11, 12, 5))
    assert effects[:2] == (do.StartOver(9, 8), do.AppendBatches((BatchInfo(8, 11, 4), BatchInfo(11, 12, 5))))
    assert one.local == Local(9, 12, 9, 9, ((4, 9), (5, 11)))


def test_only_an_empty_log_begins_inside_a_batch():
    one = Following(log=local(7, epochs=OWN))
    one.fetched((6, 8, 5))
    assert one.state.phase is Phase.PAUSED
    one = out_of_range()
    one.told_offsets(9, 12)
    one.fetched((7, 9, 4))
    assert one.state.phase is Phase.PAUSED


def test_when_the_leader_ends_below_its_end_it_cuts():
    one = out_of_range()
    one.told_offsets(0, 5)
    assert one.asked(do.Truncate) == [do.Truncate(5)]
    one = out_of_range()
    (halt,) = one.told_offsets(0, 1)
    assert halt.invariant == "I9"


def test_when_its_end_is_the_leaders_again_it_waits_and_asks():
    one = out_of_range()
    assert one.told_offsets(0, 7) == ()
    assert one.state.phase is Phase.PAUSED


def test_an_error_there_is_a_pause_too():
    one = out_of_range()
    assert one.told_offsets(-1, -1, Code.NOT_LEADER_OR_FOLLOWER) == ()
    assert one.state.phase is Phase.PAUSED


def test_answers_to_what_was_not_asked_are_ignored():
    one = Following(log=local(7, epochs=OWN))
    number = one.state.number
    assert one.ignores(ev.OffsetsAnswered(ev.OffsetsReply(1, number, Code.NONE, 9, 12)))
    assert one.ignores(ev.EpochEndAnswered(ev.EpochEndReply(1, number, Code.NONE, 1, 2)))
    one = out_of_range()
    assert one.ignores(ev.Fetched(ev.FetchReply(1, one.state.number, Code.NONE, 7, 0)))


# -- what a follower does not do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (ev.FetchRequest(3, 13, 7, 5, 0, -1, 0), ev.FetchReply(2, 7, Code.NOT_LEADER_OR_FOLLOWER)),
        (ev.EpochEndRequest(3, 7, 5, 1), ev.EpochEndReply(2, 7, Code.NOT_LEADER_OR_FOLLOWER)),
        (ev.OffsetsRequest(3, 7, 5), ev.OffsetsReply(2, 7, Code.NOT_LEADER_OR_FOLLOWER)),
    ],
)
def test_it_sends_who_asks_it_to_the_leader(request_, reply):
    one = Following()
    assert one.tell(ev.Requested(request_)) == (do.SendReply(3, reply),)


def test_a_raised_start_takes_its_epochs_along_and_never_falls():
    one = Following(log=local(7, mark=6, epochs=OWN))
    one.tell(ev.LogStartRaised(3))
    assert (one.local.log_start_offset, one.local.lineage) == (3, lineage((3, 3), (4, 5)))
    assert one.ignores(ev.LogStartRaised(1))
