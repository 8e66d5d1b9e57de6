"""A log: one fsync for many appends, what durable means, views for ever, leader epochs, threads."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

import kstore
from kstore.errors import StorageError
from kstore.log import names
from kstore.testing.simdisk import SimDisk
from support.stores import count_calls, kill, new_partition, open_store, power_off, values

LOG = "/data/t-0/00000000000000000000.log"


# -- group commit -----------------------------------------------------------------------------------------------


def test_one_fsync_serves_every_append_that_waits():
    disk = SimDisk()
    store, partition = new_partition(disk)
    calls = count_calls(disk)
    began, go = threading.Event(), threading.Event()
    counted = disk.faults.on_call

    def hold(kind, path):
        counted(kind, path)
        if kind == "sync" and path == LOG and not began.is_set():
            began.set()
            disk._mutex.release()
            assert go.wait(20)
            disk._mutex.acquire()

    disk.faults.on_call = hold
    threads = [threading.Thread(target=partition.append, args=([b"v"],), kwargs={"durable": True}, daemon=True)]
    threads[0].start()
    assert began.wait(20)
    for _ in range(7):
        threads.append(threading.Thread(target=partition.append, args=([b"v"],), kwargs={"durable": True}, daemon=True))
        threads[-1].start()
    while partition.log_end_offset < 8 or len(partition._commit._changed._waiters) < 7:
        pass  # appended though the fsync is under way: the writer lock is free
    go.set()
    for thread in threads:
        thread.join(20)
    assert calls["sync", LOG] == 2
    assert partition.recovery_point == 8
    store.close()


# -- what durable means -----------------------------------------------------------------------------------------


def test_a_durable_append_is_there_after_a_power_loss():
    disk = SimDisk(medium=True)
    store, partition = new_partition(disk, internal_segment_bytes=400)
    for i in range(12):
        partition.append([b"%d" % i * 100], durable=True)
        with open_store(power_off(disk)) as after:
            assert len(values(after.partition("t", 0))) == i + 1, f"append {i} was not durable"
    assert len(partition.segments) > 2
    store.close()


def test_a_created_topic_is_there_after_a_power_loss():
    disk = SimDisk(medium=True)
    store = open_store(disk)
    topic = store.create_topic("t", partitions=2, config={"retention.ms": 5})
    with open_store(power_off(disk)) as after:
        assert after.topics() == {"t": topic}


# -- views ------------------------------------------------------------------------------------------------------


def on_disk(tmp_path):
    store = kstore.open(tmp_path / "d", config={"log.flush.scheduler.interval.ms": 0})
    store.create_topic("t", config={"internal.segment.bytes": 5000, "index.interval.bytes": 100})
    partition = store.partition("t", 0)
    for i in range(40):
        partition.append([(b"k%d" % i, b"%03d" % i * 100)], timestamp_ms=i)
    return store, partition


@pytest.mark.parametrize("end", ["truncate", "delete records", "delete topic", "close"])
def test_what_was_read_stays_valid(tmp_path, end):
    store, partition = on_disk(tmp_path)
    batches = [partition.read(offset) for offset in (0, 20, 39)]
    copies = [bytes(b.buffer) for b in batches]
    columns = batches[0].columns()
    offsets, first = columns.offsets.copy(), columns.value(0)
    whole = partition.segments[0]
    indexes = [whole.offset_index, whole.time_index]
    index_copies = [index.copy() for index in indexes]
    as_array = np.frombuffer(batches[1].buffer, np.uint8)
    array_copy = as_array.copy()
    if end == "truncate":
        partition.log.replicate_from(5)
        partition.truncate_to(5)
    elif end == "delete records":
        partition.delete_records(39)
    elif end == "delete topic":
        store.delete_topic("t")
    else:
        store.close()
    if end in ("truncate", "delete records"):
        partition.append([b"\xff" * 4000])
        partition.append([b"\xff" * 4000])
    assert [bytes(b.buffer) for b in batches] == copies
    assert np.array_equal(columns.offsets, offsets)
    assert columns.value(0) == first
    assert np.array_equal(as_array, array_copy)
    for index, copy in zip(indexes, index_copies, strict=True):
        assert np.array_equal(index, copy)
    assert [r.value for r in batches[2]] == [b"039" * 100]
    store.close()


def test_a_published_view_never_changes():
    store, partition = new_partition(internal_segment_bytes=300)
    with store:
        partition.append([b"a" * 100])
        old = partition.log.view
        before = (old.segments, old.log_end_offset, old.high_watermark, old.end_position)
        content = bytes(old.read(0, 10_000, 1).buffer)
        for _ in range(5):
            partition.append([b"b" * 150])
        partition.delete_records(3)
        assert (old.segments, old.log_end_offset, old.high_watermark, old.end_position) == before
        assert bytes(old.read(0, 10_000, 1).buffer) == content


# -- leader epochs ----------------------------------------------------------------------------------------------


def started_inside(disk):
    """A follower's log that was empty at 5 and takes a leader's batch of 4 up to 7, of which nothing is synced."""
    store, partition = new_partition(disk)
    partition.follow(0)
    partition.start_over(5)
    store.flush()
    partition.start_over(5, 4)
    batch = kstore.encode_batches([b"x", b"y", b"z"], base_offset=4, leader_epoch=2, timestamp_ms=1)
    partition.append_as_follower(batch)
    assert (partition.log_start_offset, partition.high_watermark, partition.log_end_offset) == (5, 5, 7)
    return store, partition


@pytest.mark.parametrize("loses_power", [False, True])
@pytest.mark.parametrize("synced", [False, True])
def test_a_log_may_begin_inside_a_batch(loses_power, synced):
    disk = SimDisk(medium=True)
    store, partition = started_inside(disk)
    if synced:
        partition.sync()
    kill(store)
    disk.kill()
    partition = open_store(power_off(disk) if loses_power else disk).partition("t", 0)
    kept = synced or not loses_power
    assert partition.log.derived.damage == ()
    assert (partition.log_start_offset, partition.log_end_offset) == (5, 7 if kept else 5)
    assert values(partition) == ([b"y", b"z"] if kept else [])


def test_a_torn_first_batch_that_begins_below_the_log_start_is_cut_and_no_damage():
    disk = SimDisk()
    store, partition = started_inside(disk)
    path = partition.segments[0].path
    kill(store)
    file = disk.open_file(path)
    file.truncate(disk.size(path) - 1)
    file.close()
    partition = open_store(disk).partition("t", 0)
    assert partition.log.derived.damage == ()
    assert (partition.log_start_offset, partition.log_end_offset) == (5, 5)


def test_a_log_that_was_to_begin_inside_a_batch_begins_without_it_too():
    store, partition = new_partition()
    partition.follow(0)
    partition.start_over(5, 4)
    partition.lead(3, 5)
    assert partition.append([b"a"]).base_offset == 5
    partition.advance_high_watermark(6)
    assert values(partition) == [b"a"]
    disk = store.disk
    kill(store)
    partition = open_store(disk).partition("t", 0)
    assert (partition.log_start_offset, values(partition)) == (5, [b"a"])
    assert partition.log.derived.damage == ()


def test_a_log_without_a_role_knows_of_the_batch_that_did_not_come():
    """The first append goes into a segment that begins below it: a hole, which must not pass for damage later on."""
    store, partition = new_partition()
    partition.start_over(5, 4)
    partition.append([b"a"])
    store.close()
    for _ in range(2):
        with open_store(store.disk) as again:
            assert values(again.partition("t", 0)) == [b"a"]


def test_only_an_empty_log_takes_a_batch_from_below_its_start():
    _, partition = started_inside(SimDisk())
    with pytest.raises(kstore.InvariantError, match="behind the end 7"):
        partition.append_as_follower(kstore.encode_batches([b"x"], base_offset=6, leader_epoch=2, timestamp_ms=1))
    partition.start_over(9)
    with pytest.raises(kstore.InvariantError, match="behind the end 9"):
        partition.append_as_follower(kstore.encode_batches([b"x"] * 3, base_offset=8, leader_epoch=2, timestamp_ms=1))


def test_a_leader_epoch_is_on_the_medium_before_its_first_batch():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"])
    order = []
    disk.faults.on_call = lambda kind, path: order.append((kind, path.rpartition("/")[2]))
    partition.log.leader_epoch = 7
    partition.append([b"b"])
    renamed = order.index(("rename", names.EPOCHS_FILE + ".tmp"))
    assert renamed < order.index(("write", names.log_name(0)))
    store.close()


def test_a_leader_epoch_that_cannot_be_written_lets_no_batch_in():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"])
    partition.log.leader_epoch = 7
    disk.faults.plant(errno.ENOSPC, path_ends=(names.EPOCHS_FILE, names.EPOCHS_FILE + ".tmp"))
    with pytest.raises(StorageError):
        partition.append([b"b"])
    assert values(partition) == [b"a"]
    partition.append([b"b"])
    assert disk.read_file(f"/data/t-0/{names.EPOCHS_FILE}") == b"0\n2\n0 0\n7 1\n", "what failed is done again"
    kill(store)
    with open_store(disk) as store:
        assert store.partition("t", 0).log.derived.epochs.latest_epoch == 7


def test_epochs_that_cannot_be_taken_back_stay_noted():
    """The next batch of that epoch used to find it noted in one place and forgotten in the other."""
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"])
    partition.follow(0)
    partition.lead(5, 1)
    disk.faults.plant(errno.ENOSPC, path_ends=(names.EPOCHS_FILE, names.EPOCHS_FILE + ".tmp"))
    with pytest.raises(StorageError):
        partition.truncate_to(1)
    assert partition.log.derived.epochs.latest_epoch == 5
    partition.append([b"b"])
    assert partition.log.derived.epochs.epoch_for_offset(1) == 5
    partition.truncate_to(1)
    assert partition.log.derived.epochs.latest_epoch == 0
    kill(store)
    with open_store(disk) as store:
        assert store.partition("t", 0).log.derived.epochs.latest_epoch == 0


# -- threads ----------------------------------------------------------------------------------------------------


def test_readers_beside_a_writer_see_consistent_prefixes(tmp_path):
    store = kstore.open(tmp_path / "d")
    store.create_topic("t", config={"internal.segment.bytes": 20_000, "index.interval.bytes": 500})
    partition = store.partition("t", 0)
    count, failures = 600, []
    done = threading.Event()
    start = threading.Barrier(5)

    def write():
        start.wait(20)
        for i in range(count):
            partition.append([b"%06d" % (3 * i + j) * 10 for j in range(3)], durable=i % 100 == 0)
        done.set()

    def read():
        start.wait(20)
        try:
            while True:
                last_round = done.is_set()
                end, offset, expected = partition.high_watermark, 0, 0
                while offset < end:
                    for record in partition.read(offset, max_bytes=8_000):
                        assert record.offset == expected
                        assert record.value == b"%06d" % expected * 10
                        expected += 1
                    offset = expected
                assert expected >= end
                if last_round:
                    assert expected == 3 * count
                    return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write)] + [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    store.close()
    assert failures == []
    assert len(partition.segments) > 3


def test_appends_of_many_threads_are_whole_and_in_each_threads_order():
    store, partition = new_partition(internal_segment_bytes=2000)
    start = threading.Barrier(4)

    def write(name):
        start.wait(20)
        for i in range(50):
            partition.append([b"%d-%d" % (name, i), b"%d-%d+" % (name, i)])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store:
        got = values(partition)
        assert all(second == first + b"+" for first, second in zip(got[::2], got[1::2], strict=True))
        for name in range(4):
            own = [value for value in got[::2] if value.startswith(b"%d-" % name)]
            assert own == [b"%d-%d" % (name, i) for i in range(50)]
