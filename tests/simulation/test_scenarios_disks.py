"""R11, R12 and R14 of the fault catalogue: followers that are slow or broken, rot, and logs that share no offset.

Each scene names a rule that it stands for: without that rule in kstore it fails.
"""

from __future__ import annotations

import pytest

from kstore.errors import OffsetOutOfRange
from kstore.replication.codes import Code
from kstore.replication.events import FetchReply
from kstore.replication.values import replace
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.scene import NO_LEADER, Scene

LAG_S = Options().rules.lag_time_max_ms / 1000


def steady(scene, seconds, every_ms=200):
    """A producer that waits for no follower, so that one that is late stays late."""
    made = scene.producer(idempotent=False, acks=1)
    made.produce(int(seconds * 1000 / every_ms), every_ms * 1000)
    return made


# -- R11 ---------------------------------------------------------------------------------------------------------


def test_r11_a_follower_that_cannot_keep_up_leaves_and_comes_back_by_itself():
    """KAFKA-3978: it asks all the time, and every answer finds it behind.

    Rules: `progress.fetched` calls caught up who has what the leader had then; `leader._shrink` gives up the others.
    """
    with Scene() as scene:
        scene.write()
        steady(scene, 30)
        scene.slow_disk(3, 5)
        began_us = scene.world.now_us
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be given up", within_s=15)
        assert scene.world.now_us - began_us >= LAG_S * 1e6, "not before its time"
        assert scene.node(3).running
        asked = len(scene.lines("asks", 3))
        scene.run(10)
        assert len(scene.lines("asks", 3)) > asked, "it asks on"
        assert scene.isr == (1, 2)
        written = scene.mark(1)
        scene.run(2)
        assert (scene.leader, scene.assignment.leader_epoch) == (1, 0)
        assert scene.mark(1) > written, "the leader serves"
        scene.mend(3)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 to come back", within_s=20)
        scene.finish()


def test_r11_a_follower_without_room_leaves_and_comes_back_when_there_is_room():
    """Kafka takes a whole log directory offline for a full disk; here the append fails, and is tried again.

    Rule: `Replica._step_back` goes back to what the log holds, and asks again after a while.
    """
    with Scene() as scene:
        scene.write()
        steady(scene, 30)
        scene.fill_disk(3, room_bytes=100)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be given up", within_s=15)
        assert scene.end(3) < scene.end(2)
        assert not scene.lines("dies", 3)
        written = scene.mark(1)
        scene.run(2)
        assert (scene.leader, scene.assignment.leader_epoch) == (1, 0)
        assert scene.mark(1) > written
        scene.mend(3)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 to come back", within_s=20)
        assert not scene.lines("dies", 3), "without a restart"
        scene.finish()


@pytest.mark.parametrize("calls", ["write", "sync"])
def test_r11_a_follower_whose_disk_fails_leaves_and_comes_back_with_a_disk_that_works(calls):
    """replication_replica_failure_test of Kafka. A write or an fsync that failed is final for that life (S17, S18).

    Rule: `Replica.sync` and `_step` take the replica offline; nothing that failed is counted on (I22).
    """
    with Scene() as scene:
        scene.write()
        steady(scene, 30)
        scene.run(1)
        scene.fail_disk(3, calls)
        scene.until(lambda: scene.lines("dies", 3) or scene.lines("disk failed", 3), "broker 3's disk to fail")
        scene.until(lambda: 3 not in scene.isr, "broker 3 to be missed", within_s=15)
        written = scene.mark(1)
        scene.run(2)
        assert (scene.leader, scene.assignment.leader_epoch) == (1, 0)
        assert scene.mark(1) > written
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 to come back", within_s=20)
        scene.finish()


def test_r11_a_leader_whose_disk_fails_acknowledges_nothing_and_gives_way():
    """The same at the leader: nobody hears of an append whose fsync failed that it is safe (I22).

    Rule: `Replica.sync` goes offline at the first failure.
    """
    with Scene() as scene:
        scene.write()
        scene.fail_disk(1, "sync")
        failed = scene.produce()
        scene.until(lambda: failed.code is not None, "its answer")
        assert failed.code == Code.KAFKA_STORAGE_ERROR
        scene.until(lambda: scene.leader in (2, 3), "another leader")
        scene.write()
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 1 to come back", within_s=20)
        scene.finish()


# -- R12 ---------------------------------------------------------------------------------------------------------


HEADER, RECORDS = 16, 65
"""A byte of a batch that every read looks at (its magic), and one that only its checksum covers."""


def rotten(scene, broker, byte):
    """Flip a bit of the first batch, below the recovery point, where no crash can have torn anything."""
    scene.node(broker).store.flush()
    scene.corrupt(broker, 0, byte)
    (last,) = scene.write()  # what is mapped already does not show it
    scene.until(lambda: scene.mark(broker) == last.offset + 1, "all to know what is committed")


def test_r12_a_leader_that_meets_rot_in_its_log_gives_way_to_a_whole_one():
    """PAR: a follower finds the bytes corrupt twice, so they were so before they left.

    Rules: `Replica._send_batches` looks, `leader._on_damaged` resigns.
    """
    with Scene() as scene:
        scene.write(3)
        rotten(scene, 1, RECORDS)
        scene.kill(3)
        scene.wipe(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        scene.start(3)
        scene.until(lambda: scene.lines("resigns", 1, "damaged at offset 0"), "broker 1 to give up")
        scene.until(lambda: scene.leads(2), "a whole one to lead")
        scene.until(lambda: scene.end(3) == 4, "broker 3 to have what it lost")
        assert scene.log(3) == scene.log(2)
        scene.finish()


def test_r12_who_knows_of_rot_in_its_log_does_not_lead_even_when_elected():
    """NATS #7549, #7587: a follower's reader has met the damage; then it is the one that is elected.

    Rule: `leader.lead` gives up at once where the log is damaged.
    """
    with Scene() as scene:
        scene.write(3)
        rotten(scene, 2, HEADER)
        assert scene.fetch(2, 0).code != Code.NONE
        assert scene.replica(2).state.local.damaged_offset == 0
        scene.kill(1)
        scene.until(lambda: scene.lines("resigns", 2, "damaged at offset 0"), "broker 2 to be elected")
        scene.until(lambda: scene.leads(3), "broker 3 to lead")
        assert (scene.mark(2), scene.end(3)) == (4, 4)
        scene.start(1)
        scene.finish()


def test_r12_a_leader_that_has_given_up_commits_nothing_more():
    """The controller has not heard of it yet; what the others fetch meanwhile is the next leader's to commit.

    Rule: `leader._committed` stands still once the lead was given up.
    """
    with Scene(lag_time_max_ms=20_000) as scene:
        scene.write(3)
        rotten(scene, 1, RECORDS)
        scene.cut(1, *scene.controllers)
        scene.clog(2, 1, 2)
        waits = scene.produce(timeout_ms=20_000)
        scene.until(lambda: scene.end(2) == scene.end(3) == 5, "the record on all")
        scene.node(1).step(scene.KEY, scene.replica(1).note_damage, 0, scene.node(1).now_ms)  # somebody has looked
        scene.until(lambda: waits.code is not None, "broker 1 to give up")
        assert (waits.code, scene.mark(1)) == (Code.NOT_LEADER_OR_FOLLOWER, 4)
        leader = scene.replica(1)
        scene.until(lambda: leader.state.progress(2).log_end_offset == 5, "broker 2 to say that it has it too")
        scene.run(1)
        assert (scene.leader, scene.mark(1)) == (1, 4)
        scene.heal()
        scene.until(lambda: scene.leads(2), "a whole one to lead")
        scene.finish()


def test_r12_with_nobody_whole_left_the_cluster_refuses_rather_than_forgets():
    """NATS #7549: the damaged one used to lead, and the others followed it.

    Rules: `leader.lead` again, and `alter.on_resign` takes who lost records out of ISR and ELR.
    """
    with Scene() as scene:
        scene.write(3)
        scene.kill(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        rotten(scene, 2, HEADER)
        scene.fetch(2, 0)
        scene.kill(1)
        scene.start(3)
        scene.until(lambda: scene.lines("resigns", 2, "damaged at offset 0"), "broker 2 to be elected")
        scene.until(lambda: scene.leader == NO_LEADER, "nobody to lead")
        scene.run(8)
        assert (scene.leader, scene.isr, scene.assignment.elr) == (NO_LEADER, (), (1,))
        assert scene.end(3) == 3, "it lacks what is committed"
        scene.start(1)
        scene.until(lambda: scene.leads(1), "the whole one to lead")
        assert scene.end(1) == 4
        scene.finish()


# -- R14 ---------------------------------------------------------------------------------------------------------


def remembered(scene, broker):
    """What a log knows of its producers: their entries, as (id, epoch, last sequence)."""
    entries = scene.replica(broker).partition.log.derived.producers.entries()
    return sorted((entry.producer_id, entry.epoch, entry.batches[-1].last_sequence) for entry in entries)


@pytest.mark.parametrize("on_fetch", [True, False], ids=["by-fetch", "by-epoch-end"])
def test_r14_a_log_that_the_leader_has_moved_past_starts_over_with_all_its_marks(on_fetch):
    """KAFKA-9491, KAFKA-12153: log start, high watermark and producers move together.

    Rule: `follower._start_over` and `truncation.start_over`.
    """
    with Scene(options=Options(segment_bytes=1000), truncate_on_fetch=on_fetch) as scene:
        writer = scene.producer()
        writer.produce(5, 10_000)
        scene.until(lambda: writer.is_idle, "the first batches")
        scene.until(lambda: scene.mark(3) == scene.end(1), "broker 3 to have them all")
        behind = scene.end(3)
        scene.kill(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        writer.produce(20, 10_000)
        scene.until(lambda: writer.is_idle, "more batches")
        start = scene.end(1) - 4
        scene.delete_records(start)
        assert start > behind
        scene.start(3)
        scene.until(lambda: scene.lines("starts over", 3), "broker 3 to start over")
        view = scene.replica(3).partition.log.view
        assert start <= view.log_start_offset <= view.high_watermark <= view.log_end_offset
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync")
        assert scene.replica(3).partition.log_start_offset == start
        assert (scene.end(3), scene.mark(3)) == (scene.end(1), scene.end(1))
        assert remembered(scene, 3) == remembered(scene, 1) != []
        scene.lead_by(3)
        writer.produce(3, 10_000)
        scene.until(lambda: writer.is_idle, "the producer to go on at the one that started over")
        assert writer.producer_epoch == 0, "its sequence fits"
        scene.finish()


def test_r14_nobody_can_delete_what_is_not_committed():
    """KAFKA-5634: a log start above the high watermark would take records whose fate is open.

    Rule: `Log.raise_log_start` refuses.
    """
    with Scene() as scene:
        scene.write(3)
        scene.cut(1, *scene.others(1))
        scene.write(2, acks=1, to=1)
        assert (scene.mark(1), scene.end(1)) == (3, 5)
        with pytest.raises(OffsetOutOfRange):
            scene.delete_records(4)
        assert (scene.replica(1).partition.log_start_offset, scene.mark(1), scene.end(1)) == (0, 3, 5)
        scene.delete_records(3)
        assert scene.replica(1).partition.log_start_offset == 3
        scene.finish()


def test_r14_an_out_of_range_that_is_not_true_costs_no_record(monkeypatch):
    """KAFKA-2143: a leader answered so to a follower that was in range, and the follower dropped its whole log.

    Rule: `follower._on_offsets` starts over only where the leader's log begins above its own end.
    """
    with Scene() as scene:
        scene.write(3)
        honest, wrong = scene.node(1).send_reply, []

        def once_wrong(replica, to, reply, data):
            if to == 3 and isinstance(reply, FetchReply) and not wrong:
                wrong.append(reply)
                reply, data = replace(reply, code=Code.OFFSET_OUT_OF_RANGE), memoryview(b"")
            honest(replica, to, reply, data)

        monkeypatch.setattr(scene.node(1), "send_reply", once_wrong)
        scene.until(lambda: wrong, "the wrong answer")
        scene.until(lambda: scene.lines("asks", 3, "offsets in"), "broker 3 to ask where the log lies")
        scene.run(3)
        assert not scene.lines("starts over")
        assert not scene.lines("truncates")
        assert scene.log(3) == scene.log(1)
        scene.write()
        assert scene.isr == (1, 2, 3)
        scene.finish()
