"""A replica at work: the machines against real logs on three directories."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore.errors import NotEnoughReplicas, NotLeader, StorageError
from kstore.records import encode_batches
from kstore.replica import Replica
from kstore.replication.codes import Code
from kstore.replication.events import EpochEndReply, FetchReply
from kstore.replication.follower import Phase
from kstore.replication.leading import Leader
from kstore.replication.state import Rules, Sync
from kstore.testing.simdisk import SimDisk
from support.replica_world import BROKERS, World, assignment


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def on_simulated_disks(tmp_path, **more):
    return World(tmp_path, disks={b: SimDisk() for b in BROKERS}, **more)


@pytest.mark.parametrize("sync", list(Sync))
def test_an_append_reaches_all_replicas_byte_for_byte(tmp_path, sync):
    world = World(tmp_path, Rules(sync=sync), config={"internal.segment.bytes": 2000})
    world.assign(assignment())
    world.deliver()
    for number in range(40):
        token, done = world.replicas[1].append([b"value %d" % number] * 3, now_ms=world.now_ms)
        assert done.base_offset == 3 * number
        world.deliver()
        assert world.acknowledged[1, token] is Code.NONE
    assert [r.partition.high_watermark for r in world.replicas.values()] == [120, 120, 120]
    one, two, three = world.logs()
    assert one == two == three != b""
    assert len(world.replicas[3].partition.segments) > 1
    world.close()


def test_nothing_is_acknowledged_before_it_is_on_every_medium(tmp_path):
    world = World(tmp_path)
    world.assign(assignment())
    world.deliver()
    token, _ = world.replicas[1].append([b"x"], now_ms=0)
    world.deliver(to=(1, 2))
    assert (1, token) not in world.acknowledged
    assert world.replicas[1].partition.high_watermark == 0
    world.close()


def test_only_a_leader_takes_appends(world):
    world.assign(assignment())
    with pytest.raises(NotLeader):
        world.replicas[2].append([b"x"], now_ms=0)
    with pytest.raises(NotLeader):
        world.replicas[2].partition.append([b"x"])


def test_too_few_replicas_refuse_before_anything_is_stored(tmp_path):
    world = World(tmp_path, Rules(min_insync_replicas=2))
    world.assign(assignment(isr=(1,)))
    with pytest.raises(NotEnoughReplicas):
        world.replicas[1].append([b"x"], now_ms=0)
    assert world.replicas[1].partition.log_end_offset == 0
    token, _ = world.replicas[1].append([b"x"], acks=1, now_ms=0)
    assert world.acknowledged[1, token] is Code.NONE
    world.close()


def test_the_leader_dies_and_what_was_acknowledged_lives_on(world):
    world.assign(assignment())
    world.deliver()
    token, _ = world.replicas[1].append([b"kept"], now_ms=0)
    world.deliver()
    assert world.acknowledged[1, token] is Code.NONE
    world.under_way.clear()
    world.replicas[1].append([b"lost"], acks=1, now_ms=0)  # nobody fetches it
    world.assign(assignment(leader=2, epoch=2, isr=(2, 3), partition_epoch=1))
    world.deliver()
    world.replicas[2].append([b"new"], now_ms=0)
    world.deliver()
    assert [world.values(b) for b in BROKERS] == [[b"kept", b"new"]] * 3
    assert world.proposals[0][1].isr == ((1, 11), (2, 12), (3, 13))  # it is in sync again
    one, two, three = world.logs()
    assert one == two == three
    assert world.replicas[1].partition.log.derived.epochs.entries == ((1, 0), (2, 1))


def test_a_follower_far_behind_starts_over_at_the_leaders_start(world):
    world.assign(assignment(isr=(1, 2)), to=(1, 2))
    for _ in range(3):
        world.replicas[1].append([b"old"], now_ms=0)
        world.deliver(to=(1, 2))
    world.replicas[1].delete_records(3, 0)
    world.replicas[1].append([b"new"], now_ms=0)
    world.deliver(to=(1, 2))
    world.assign(assignment(epoch=2, isr=(1, 2), partition_epoch=1))
    world.deliver()
    third = world.replicas[3].partition
    assert (third.log_start_offset, third.log_end_offset) == (3, 4)
    assert world.values(3) == [b"new"]


def test_a_follower_begins_inside_a_batch_where_its_leader_does(world):
    """KAFKA-6975: DeleteRecords may raise the log start to an offset inside a batch, which only comes whole."""
    world.assign(assignment(isr=(1, 2)), to=(1, 2))
    world.replicas[1].append([b"a", b"b", b"c"], now_ms=0)
    world.replicas[1].append([b"d"], now_ms=0)
    world.deliver(to=(1, 2))
    world.replicas[1].delete_records(1, 0)
    world.assign(assignment(epoch=2, isr=(1, 2), partition_epoch=1))
    world.deliver()
    third = world.replicas[3].partition
    assert (third.log_start_offset, third.high_watermark, third.log_end_offset) == (1, 4, 4)
    assert third.log.derived.epochs.entries == ((1, 1),)
    one, _, three = world.logs()
    assert one == three
    assert [r.offset for r in third.read(1).records(from_offset=1)] == [1, 2, 3]


def test_an_unclean_election_cuts_below_the_high_watermark_and_nothing_else_does(world):
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"a"], now_ms=0)
    world.deliver()
    world.assign(assignment(isr=(1, 2), partition_epoch=1), to=(1, 2))
    world.now_ms += 60_000  # nobody waits for the third one any more
    world.replicas[1].append([b"b"], now_ms=world.now_ms)
    world.deliver(to=(1, 2))
    assert world.replicas[1].partition.high_watermark == 2
    elected = assignment(leader=3, epoch=2, isr=(3,), partition_epoch=2, recovering=True, unclean_epoch=2)
    world.assign(elected)
    world.answer()
    world.replicas[3].append([b"c"], now_ms=0)
    world.deliver()
    assert [world.values(b) for b in BROKERS] == [[b"a", b"c"]] * 3
    assert [r.halted for r in world.replicas.values()] == [None] * 3


def test_a_truncation_that_would_break_a_promise_halts_the_partition(world):
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"a"], now_ms=0)
    world.deliver()
    world.assign(assignment(isr=(1, 2), partition_epoch=1), to=(1, 2))
    world.now_ms += 60_000  # nobody waits for the third one any more
    world.replicas[1].append([b"b"], now_ms=world.now_ms)
    world.deliver(to=(1, 2))
    world.assign(assignment(leader=3, epoch=2, isr=(3,), partition_epoch=2))  # a wrong election, said to be clean
    world.replicas[3].append([b"c"], now_ms=0)
    world.deliver()
    assert "I9" in world.replicas[1].halted
    assert "the last events" in world.replicas[1].halted
    assert world.values(1) == [b"a", b"b"]
    assert world.resigned == []
    world.assign(assignment(epoch=3, isr=(1,), partition_epoch=3))
    world.assign(assignment(epoch=3, isr=(1,), partition_epoch=4))
    (broker, resignation), = world.resigned
    assert (broker, resignation.leader_epoch, resignation.lost) == (1, 3, True), "it serves no term any more"
    assert "I9" in resignation.reason


def test_corrupt_bytes_are_not_appended_and_asked_for_again(world):
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"x"], now_ms=0)
    follower = world.replicas[2]
    reply_data = bytearray(world.replicas[1].partition.read_replica(0).buffer)
    reply_data[-1] ^= 1
    follower.on_reply(FetchReply(1, follower.state.number, Code.NONE, 0, 0), bytes(reply_data), world.now_ms)
    assert follower.partition.log_end_offset == 0
    world.deliver(to=(1, 3))
    world.now_ms += 1_000
    follower.tick(world.now_ms)
    world.deliver()
    assert world.values(2) == [b"x"]


def test_a_leader_that_is_asked_for_the_same_again_looks_whether_it_has_rotted(tmp_path):
    """R12: a follower finds corrupt what it was given, and asks again; Kafka's leader would go on for ever."""
    world = on_simulated_disks(tmp_path)
    world.assign(assignment(isr=(1, 2)), to=(1, 2))
    for value in (b"a", b"b", b"c"):
        world.replicas[1].append([value], now_ms=0)
    world.deliver(to=(1, 2))
    log = world.replicas[1].partition.log
    segment = log.segments[0]
    world.disks[1].flip_bit(segment.path, (segment.locate(1) + 65) * 8)
    world.replicas[1].append([b"d"], now_ms=0)  # a simulated mapping shows a flip only once it is made anew
    world.deliver(to=(1, 2))
    world.assign(assignment(epoch=2, isr=(1, 2), partition_epoch=1))
    world.deliver()
    assert world.replicas[3].partition.log_end_offset == 0
    assert not world.resigned
    world.replicas[3].tick(world.now_ms + 2_000)
    world.deliver()
    ((broker, resignation),) = world.resigned
    assert (broker, resignation.lost, resignation.reason) == (1, True, "the log is damaged at offset 1")
    assert world.replicas[1].partition.find_damage(0) == 1
    assert world.replicas[1].partition.find_damage(2) == -1


def test_a_leader_names_the_damage_and_not_where_it_was_met(tmp_path):
    """The header of a batch claims the offsets behind it: who reads there meets it, and a cut there keeps it."""
    world = on_simulated_disks(tmp_path)
    world.assign(assignment(isr=(1, 2)), to=(1, 2))
    for value in (b"a", b"b", b"c", b"d"):
        world.replicas[1].append([value], now_ms=0)
    world.deliver(to=(1, 2))
    segment = world.replicas[1].partition.log.segments[0]
    last_offset_at = 23 + 2
    world.disks[1].flip_bit(segment.path, (segment.locate(1) + last_offset_at) * 8)
    world.replicas[1].append([b"e"], acks=1, now_ms=0)
    assert world.resigned[0][1].reason == "the log is damaged at offset 1"
    world.assign(assignment(leader=2, epoch=2, isr=(2,), partition_epoch=1), to=(1, 2))
    world.deliver(to=(1, 2))
    one = world.replicas[1]
    assert (one.partition.log_end_offset, one.state.local.damaged_offset, one.halted) == (4, 1, None)


def test_a_base_offset_that_was_damaged_on_the_way_leaves_no_hole(world):
    """R13: no checksum covers it, and offsets may have holes; but a log without one believes none that is said once."""
    world.assign(assignment())
    world.deliver()
    follower = world.replicas[2]
    number = follower.state.number
    far = encode_batches([b"x"], base_offset=4096, leader_epoch=1)
    follower.on_reply(FetchReply(1, number, Code.NONE, 0, 0), far, 0)
    assert (follower.partition.log_end_offset, follower.state.number) == (0, number)
    follower.tick(follower.next_deadline_ms)
    follower.on_reply(FetchReply(1, number + 1, Code.NONE, 0, 0), encode_batches([b"a"], leader_epoch=1), 0)
    assert follower.partition.log_end_offset == 1


def test_a_hole_that_a_leader_has_is_taken_over(world):
    world.assign(assignment())
    world.deliver()
    follower = world.replicas[2]
    holed = encode_batches([b"a"], leader_epoch=1) + encode_batches([b"b"], base_offset=7, leader_epoch=1)
    for _ in range(2):
        follower.on_reply(FetchReply(1, follower.state.number, Code.NONE, 0, 0), holed, 0)
        if follower.state.phase is Phase.PAUSED:
            follower.tick(follower.next_deadline_ms)
    assert follower.partition.log_end_offset == 8
    more = encode_batches([b"c"], base_offset=9, leader_epoch=1)
    follower.sync(0)
    follower.on_reply(FetchReply(1, follower.state.number, Code.NONE, 0, 0), more, 0)
    assert follower.partition.log_end_offset == 10, "it has a hole already: another is no surprise"


def test_a_full_follower_comes_back_when_there_is_room(tmp_path):
    world = on_simulated_disks(tmp_path)
    world.assign(assignment())
    world.deliver()
    world.disks[2].faults.plant(errno.ENOSPC, kinds={"write"}, path_ends=(".log",), times=None)
    token, _ = world.replicas[1].append([b"x"], now_ms=0)
    world.deliver()
    assert (1, token) not in world.acknowledged
    world.disks[2].faults.clear()
    world.now_ms += 1_000
    world.replicas[2].tick(world.now_ms)
    world.deliver()
    assert world.acknowledged[1, token] is Code.NONE
    assert world.values(2) == [b"x"]


def test_a_follower_without_room_to_truncate_asks_again_where_the_logs_part(tmp_path):
    """Where fetches do not tell: else it would go on behind records that the leader does not have."""
    world = on_simulated_disks(tmp_path, rules=Rules(truncate_on_fetch=False))
    follower = world.replicas[2]
    world.assign(assignment())
    for offset, value in enumerate((b"kept", b"parted")):
        data = encode_batches([value], base_offset=offset, leader_epoch=1)
        follower.on_reply(FetchReply(1, follower.state.number, Code.NONE, 0, 0), data, 0)
        follower.sync(0)
    world.assign(assignment(leader=3, epoch=2, partition_epoch=1), to=(2,))
    assert follower.state.phase is Phase.PARTING
    world.disks[2].faults.plant(errno.ENOSPC, kinds={"write"}, times=None)
    follower.on_reply(EpochEndReply(3, follower.state.number, Code.NONE, 1, 1), b"", 0)
    assert (follower.state.phase, follower.partition.log_end_offset) == (Phase.PAUSED, 2)
    world.disks[2].faults.clear()
    follower.tick(follower.next_deadline_ms)
    assert follower.state.phase is Phase.PARTING
    follower.on_reply(EpochEndReply(3, follower.state.number, Code.NONE, 1, 1), b"", 0)
    assert (follower.state.phase, follower.partition.log_end_offset) == (Phase.FETCHING, 1)
    assert world.values(2) == [b"kept"]


def test_a_failed_fsync_acknowledges_nothing_and_gives_up_the_lead(tmp_path):
    world = on_simulated_disks(tmp_path)
    world.assign(assignment())
    world.deliver()
    token, _ = world.replicas[1].append([b"x"], now_ms=0)
    world.disks[1].faults.plant(errno.EIO, kinds={"sync"})
    world.deliver()
    assert world.acknowledged[1, token] is Code.KAFKA_STORAGE_ERROR
    assert [broker for broker, _ in world.resigned] == [1]
    assert world.replicas[1].offline is not None
    with pytest.raises(StorageError):
        world.replicas[1].append([b"y"], now_ms=0)


def ask_again_until_heard(world, newer):
    """Nothing answers the first resignation; what is said after that, until metadata of a `newer` term is there."""
    first = list(world.resigned)
    replica = world.replicas[1]
    for _ in range(2):
        assert replica.next_deadline_ms == world.now_ms + world.rules.proposal_timeout_ms
        world.now_ms += world.rules.proposal_timeout_ms - 1
        replica.tick(world.now_ms)
        world.now_ms += 1
        replica.tick(world.now_ms)
    assert world.resigned == first * 3
    world.assign(newer)
    world.now_ms += world.rules.proposal_timeout_ms
    replica.tick(world.now_ms)
    assert world.resigned == first * 3
    return first[0][1]


def test_a_full_leader_gives_up_until_it_is_heard_and_may_lead_again(tmp_path):
    world = on_simulated_disks(tmp_path)
    world.disks[1].faults.plant(errno.ENOSPC, kinds={"write"}, times=None)
    world.assign(assignment())
    world.deliver()
    resignation = ask_again_until_heard(world, assignment(leader=2, epoch=2, partition_epoch=1, isr=(2, 3)))
    assert (resignation.leader_epoch, resignation.lost) == (1, False)
    world.disks[1].faults.clear()
    world.assign(assignment(epoch=3, partition_epoch=2))
    assert isinstance(world.replicas[1].state, Leader)
    assert len(world.resigned) == 3


def test_a_replica_without_a_disk_gives_up_every_term_that_it_gets(tmp_path):
    world = on_simulated_disks(tmp_path)
    world.assign(assignment())
    world.replicas[1].append([b"x"], now_ms=0)
    world.disks[1].faults.plant(errno.EIO, kinds={"sync"})
    world.deliver()
    assert not ask_again_until_heard(world, assignment(leader=2, epoch=2, partition_epoch=1, isr=(2, 3))).lost
    world.assign(assignment(leader=2, epoch=2, partition_epoch=2, isr=(2, 3)))
    assert len(world.resigned) == 3
    world.assign(assignment(epoch=3, partition_epoch=3, isr=(1,)))
    world.assign(assignment(epoch=3, partition_epoch=4, isr=(1,)))
    assert [resignation.leader_epoch for _, resignation in world.resigned[3:]] == [3]


@pytest.mark.parametrize(("kind", "start"), [("write", 0), ("unlink", 2)])
def test_records_that_could_not_all_be_deleted_leave_machine_and_log_in_step(tmp_path, kind, start):
    world = on_simulated_disks(tmp_path, config={"internal.segment.bytes": 100})
    world.assign(assignment())
    world.deliver()
    for value in (b"a" * 30, b"b" * 30, b"c" * 30):
        world.replicas[1].append([value], now_ms=0)
        world.deliver()
    world.disks[1].faults.plant(errno.ENOSPC, kinds={kind}, times=None)
    with pytest.raises(StorageError):
        world.replicas[1].delete_records(2, 0)
    one = world.replicas[1]
    assert (one.partition.log_start_offset, one.state.local.log_start_offset) == (start, start)
    world.disks[1].faults.clear()
    world.deliver()
    assert world.replicas[2].partition.log_start_offset == start
    assert one.delete_records(2, 0) == 2
    world.deliver()
    assert [replica.partition.log_start_offset for replica in world.replicas.values()] == [2, 2, 2]


def test_a_leader_whose_disk_fails_at_a_deletion_gives_up_the_lead(tmp_path):
    world = on_simulated_disks(tmp_path)
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"a"], now_ms=0)
    world.deliver()
    world.disks[1].faults.plant(errno.EIO, kinds={"write"})
    with pytest.raises(StorageError):
        world.replicas[1].delete_records(1, 0)
    assert world.replicas[1].offline is not None
    assert [broker for broker, _ in world.resigned] == [1]
    world.now_ms += 60_000
    world.replicas[1].tick(world.now_ms)
    again_ms = world.now_ms + world.rules.proposal_timeout_ms
    assert world.replicas[1].next_deadline_ms == again_ms, "its followers' deadlines are past, and never met any more"


def test_a_fetch_without_news_is_held_back(world):
    world.assign(assignment())
    world.deliver()
    assert len(world.under_way) == 0
    assert world.replicas[1].next_deadline_ms == world.now_ms + 500
    world.now_ms += 500
    world.replicas[1].tick(world.now_ms)
    assert len(world.under_way) == 2
    world.deliver()
    assert isinstance(world.replicas[1].state, Leader)


def test_a_restarted_replica_keeps_its_promise(tmp_path):
    world = World(tmp_path)
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"a", b"b"], now_ms=0)
    world.deliver()
    for store in world.stores.values():
        store.close()
    for broker in BROKERS:
        world.start(broker, 20 + broker)
    assert [r.state.local.high_watermark for r in world.replicas.values()] == [2, 2, 2]
    world.assign(assignment(leader=3, epoch=2, partition_epoch=1))
    world.deliver()
    world.replicas[3].append([b"c"], now_ms=0)
    world.deliver()
    assert world.values(1) == [b"a", b"b", b"c"]
    world.close()


def test_a_replica_begins_with_the_high_watermark_that_it_is_given(world):
    world.replicas[1].partition.resign()
    store = world.stores[1]
    store.create_topic("more")
    store.partition("more", 0).append([b"a", b"b", b"c"])
    replica = Replica(
        store.partition("more", 0), world, broker_id=1, broker_epoch=11, rules=world.rules, high_watermark=1
    )
    assert replica.state.local.high_watermark == replica.partition.high_watermark == 1
    assert len(replica.read(1, now_ms=0)) == 0  # the others may not have the rest


def test_a_log_that_starts_over_in_the_same_epoch_notes_it_again(world):
    world.assign(assignment())
    world.deliver()
    world.replicas[1].append([b"old"], now_ms=0)
    world.deliver()
    third = world.replicas[3].partition
    assert third.log.derived.epochs.entries == ((1, 0),)
    third.start_over(1)
    assert third.log.derived.epochs.entries == ()
    third.append_as_follower(kstore.encode_batches([b"new"], base_offset=1, leader_epoch=1))
    assert third.log.derived.epochs.entries == ((1, 1),)
