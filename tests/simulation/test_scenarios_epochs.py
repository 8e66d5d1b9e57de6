"""R1 to R4 and R9 of the fault catalogue: who leads changes, and nothing that was committed may notice.

Every scene runs with both ways to find where logs part: by the fetch itself (KIP-595) and by OffsetForLeaderEpoch.
"""

from __future__ import annotations

import pytest

from kstore.replication.codes import Code
from kstore.testing.simulation.scene import Scene

BOTH_WAYS = pytest.mark.parametrize("on_fetch", [True, False], ids=["by-fetch", "by-epoch-end"])


@BOTH_WAYS
def test_r1_a_follower_that_had_not_heard_of_a_commit_keeps_it(on_fetch):
    """KAFKA-1211, KIP-101: it used to truncate to its lagging high watermark, and then it was elected."""
    with Scene((1, 2), truncate_on_fetch=on_fetch) as scene:
        scene.write()
        kept = scene.produce()
        scene.until(lambda: scene.end(2) == 2, "the record on broker 2")
        cut = scene.cut(1, 2, ways="out")
        scene.until(lambda: kept.code == Code.NONE, "its acknowledgement")
        assert scene.mark(2) == 1, "nobody told broker 2 that the record is committed"
        scene.kill(2)
        scene.start(2)
        scene.until(lambda: scene.lines("asks", 2, "b1"), "broker 2 to follow broker 1 again")
        assert scene.end(2) == 2
        scene.kill(1)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        assert scene.log(2) == [(0, 1, 0), (1, 2, 0)]
        scene.heal(cut)
        scene.start(1)
        scene.until(lambda: scene.isr == (1, 2), "both in sync")
        scene.write()
        scene.until(lambda: scene.log(1) == scene.log(2), "equal logs")
        assert scene.log(2) == [(0, 1, 0), (1, 2, 0), (2, 3, scene.assignment.leader_epoch)]
        scene.finish()


@BOTH_WAYS
def test_r1_an_unacknowledged_record_gives_way_to_the_next_leaders(on_fetch):
    """KIP-101, the second story: two records at one offset, and a high watermark that says nothing about which."""
    with Scene((1, 2, 3), truncate_on_fetch=on_fetch) as scene:
        scene.write()
        scene.cut(1, 2, 3)
        lost = scene.produce(acks=1)
        scene.until(lambda: lost.code == Code.NONE, "broker 1's own word")
        scene.kill(1)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.heal()
        scene.write()
        assert scene.log(1) == [(0, 1, 0), (1, 2, 0)]
        assert scene.log(2) == [(0, 1, 0), (1, 2, 1)]
        scene.start(1)
        scene.until(lambda: scene.isr == (1, 2, 3), "all in sync")
        assert scene.log(1) == scene.log(2) == scene.log(3) == [(0, 1, 0), (1, 2, 1)]
        scene.finish()


@BOTH_WAYS
def test_r2_two_fast_failovers_leave_tails_of_epochs_that_the_leader_never_knew(on_fetch):
    """KAFKA-6361, KIP-279; KAFKA-7164, -7415, -10706: one answer is not enough to find where the logs part."""
    with Scene((1, 2), truncate_on_fetch=on_fetch) as scene:
        scene.write()
        scene.cut(1, 2)
        for leader in (1, 2, 1, 2):
            if scene.leader != leader:
                scene.lead_by(leader)
            scene.write(acks=1, to=leader)
        scene.lead_by(1)
        assert scene.isr == (1, 2), "all of it was too quick for anybody to leave the ISR"
        assert scene.log(1) == [(0, 1, 0), (1, 2, 0), (2, 3, 2)]
        assert scene.log(2) == [(0, 1, 0), (1, 2, 1), (2, 3, 3)]
        asked = len(scene.lines("answers", 1, "b2"))
        scene.heal()
        scene.until(lambda: scene.log(2) == scene.log(1), "broker 2 to hold what its leader holds")
        answers = [told.detail for told in scene.lines("answers", 1, "b2")[asked:]]
        where = "parted at" if on_fetch else "ends at"
        assert sum(where in answer for answer in answers) == 2, answers
        assert scene.log(2) == [(0, 1, 0), (1, 2, 0), (2, 3, 2)]
        assert len(scene.lines("truncates", 2)) == 2
        scene.finish()


@BOTH_WAYS
def test_r3_a_zombie_leader_acknowledges_nothing_and_changes_nothing(on_fetch):
    """KAFKA-6880, KIP-320: FENCED_LEADER_EPOCH (74) for who is behind, UNKNOWN_LEADER_EPOCH (75) for who is ahead."""
    with Scene(truncate_on_fetch=on_fetch) as scene:
        scene.write()
        scene.cut(1, *scene.controllers, ways="in")
        scene.pause(1)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.resume(1)
        assert scene.replica(1).state.assignment.leader_epoch == 0
        zombies = scene.produce(to=1)
        taken = scene.produce(to=1, acks=1)
        (kept,) = scene.write(to=2)
        assert scene.fetch(2, 0, leader_epoch=0).code == Code.FENCED_LEADER_EPOCH
        assert scene.fetch(1, 0, leader_epoch=1).code == Code.UNKNOWN_LEADER_EPOCH
        scene.until(lambda: zombies.code is not None, "what becomes of the zombie's append")
        assert zombies.code == Code.REQUEST_TIMED_OUT
        assert taken.code == Code.NONE, "acks=1 is one broker's word"
        scene.until(lambda: bool(scene.lines("proposes", 1)), "the zombie to propose an ISR")
        scene.until(lambda: bool(scene.lines("AlterPartition", containing="by b1 e0")), "its proposal's fate")
        assert all("fenced leader epoch" in told.detail for told in scene.lines("AlterPartition", containing="by b1"))
        assert scene.isr == (2, 3)
        scene.heal()
        scene.until(lambda: scene.isr == (1, 2, 3), "the zombie to follow")
        assert scene.log(1) == scene.log(2) == [(0, 1, 0), (kept.offset, 2, 1)]
        scene.finish()


@BOTH_WAYS
def test_r3_a_stale_follower_is_fenced_and_counts_for_nothing(on_fetch):
    """KIP-320: what a follower says in an old epoch is no promise to the leader of a new one."""
    with Scene(truncate_on_fetch=on_fetch) as scene:
        scene.write()
        cut = scene.cut(3, *scene.controllers, ways="in")
        scene.lead_by(2)
        scene.lead_by(1)
        assert scene.replica(3).state.assignment.leader_epoch == 0
        waiting = scene.produce(timeout_ms=20_000)
        scene.until(lambda: scene.end(2) == 2, "the record on broker 2")
        scene.run(1)
        assert (waiting.code, scene.end(3)) == (None, 1), "broker 3 is in sync, and lacks it"
        scene.until(lambda: waiting.code is not None, "the acknowledgement without broker 3")
        assert (waiting.code, scene.isr) == (Code.NONE, (1, 2))
        fenced = "fenced leader epoch"
        assert scene.lines("answers", 1, "b3 t1")[-1].detail.endswith(fenced)
        scene.heal(cut)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync again")
        scene.finish()


@BOTH_WAYS
def test_r4_an_answer_that_says_where_the_logs_part_moves_no_high_watermark(on_fetch):
    """KAFKA-14704: truncate first; the high watermark moves with a later answer, and never down."""
    with Scene(truncate_on_fetch=on_fetch) as scene:
        scene.write()
        scene.cut(1, *scene.others(1))
        scene.write(acks=1, to=1)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.write(3)
        assert (scene.mark(1), scene.end(1), scene.mark(2)) == (1, 2, 4)
        seen = []

        def watched():
            now = scene.end(1), scene.mark(1)
            if not seen or seen[-1] != now:
                seen.append(now)
            return now == (4, 4)

        scene.heal()
        scene.until(watched, "broker 1 to catch up")
        assert seen[:3] == [(2, 1), (1, 1), (4, 1)], seen
        assert [mark for _, mark in seen] == sorted(mark for _, mark in seen)
        scene.finish()


@BOTH_WAYS
def test_r9_a_new_leader_that_does_not_know_yet_what_is_committed_tells_no_end(on_fetch):
    """KAFKA-2334, KIP-207: OFFSET_NOT_AVAILABLE (78), and never a smaller end than consumers have seen."""
    with Scene((1, 2), truncate_on_fetch=on_fetch) as scene:
        scene.write()
        attempt = scene.produce()
        scene.until(lambda: scene.end(2) == 2, "the record on broker 2")
        scene.cut(1, 2, ways="out")
        scene.until(lambda: attempt.code == Code.NONE, "its acknowledgement")
        assert scene.ask_end(1).high_watermark == 2
        scene.kill(1)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        answer = scene.ask_end(2)
        assert (answer.code, answer.high_watermark) == (Code.OFFSET_NOT_AVAILABLE, -1)
        assert scene.fetch(2, 1).data == b"", "and gives out nothing above its high watermark"
        scene.heal()
        scene.start(1)
        scene.until(lambda: scene.ask_end(2).code == Code.NONE, "an answer")
        assert scene.ask_end(2).high_watermark == 2
        scene.finish()


@BOTH_WAYS
def test_r1_a_batch_that_was_cut_is_no_duplicate_when_it_is_sent_again(on_fetch):
    """KAFKA-9144: the log has forgotten a batch; a producer state that has not would acknowledge what is not there.

    Rule: `truncation.truncate_to` takes the producers back with the records.
    """
    with Scene(truncate_on_fetch=on_fetch) as scene:
        writer = scene.producer()
        writer.produce(1, 0)
        scene.until(lambda: writer.is_idle, "a first batch")
        end = scene.end(1)
        scene.until(lambda: scene.mark(2) == scene.mark(3) == end, "all to know of it")
        scene.cut(1, *scene.others(1))
        writer.produce(1, 0)
        scene.until(lambda: scene.end(1) > end, "a batch that only broker 1 has")
        scene.cut("p1", 1, 2, 3)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.heal()
        scene.cut("p1", 1, 2, 3)
        scene.until(lambda: scene.isr == (1, 2, 3) and scene.end(1) == end, "broker 1 to have given it up")
        scene.lead_by(1)
        assert not writer.is_idle
        scene.heal()
        scene.until(lambda: writer.is_idle, "the batch to be sent again")
        assert scene.end(1) > end
        scene.until(lambda: scene.log(2) == scene.log(1), "it to be stored")
        scene.finish()
