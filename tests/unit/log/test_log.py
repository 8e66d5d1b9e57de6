"""A log on disks that fail: appends whole or not at all, views for ever, rolls, truncation, one fsync for many."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

import kstore
from kstore.errors import StorageError
from kstore.log import names
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, count_calls, kill, new_partition, open_store, power_off, values

LOG = "/data/t-0/00000000000000000000.log"


# -- a full disk (S14, S15) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_an_append_to_a_full_disk_leaves_nothing_and_the_next_one_works(part):
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"before"])
    before = disk.read_file(LOG)
    view = partition.log.view
    disk.faults.plant(errno.ENOSPC, kinds=("write",), path_ends=(".log",), part=part)
    with pytest.raises(StorageError) as caught:
        partition.append([b"x" * 500])
    assert (caught.value.errno, caught.value.final, caught.value.file) == (errno.ENOSPC, False, LOG)
    assert disk.read_file(LOG) == before
    assert partition.log.view is view
    assert partition.append([b"after"], durable=True).base_offset == 1
    assert values(partition) == [b"before", b"after"]
    store.close()
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"before", b"after"]


def test_reads_and_deletions_go_on_while_the_disk_is_full_and_make_room():
    disk = SimDisk(capacity_bytes=20_000)
    store, partition = new_partition(disk, internal_segment_bytes=2000)
    while (failure := refusal(partition, b"x" * 900)) is None:
        pass
    assert not failure.final
    end = partition.log_end_offset
    assert 5 < end < 30
    assert values(partition) == [b"x" * 900] * end
    partition.delete_records(end - 1)
    assert partition.append([b"y" * 900], durable=True).base_offset == end
    store.close()


def test_bytes_that_cannot_be_cut_back_take_the_directory_offline():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"])
    disk.faults.plant(errno.ENOSPC, kinds=("write",), path_ends=(".log",), part=0.5)
    disk.faults.plant(errno.EIO, kinds=("truncate",), path_ends=(".log",))
    with pytest.raises(StorageError) as caught:
        partition.append([b"b" * 100])
    assert caught.value.final
    with pytest.raises(StorageError):
        partition.append([b"c"])
    assert values(partition) == [b"a"]
    kill(store)
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"a"]


@pytest.mark.parametrize("kind", ["create", "write", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_a_roll_that_fails_leaves_no_half_made_segment(kind, number):
    nth = refused = 0
    while True:
        disk = SimDisk()
        store, partition = new_partition(disk, internal_segment_bytes=300)
        partition.append([b"x" * 150])
        before = set(disk.list("/data/t-0"))
        plant = disk.faults.plant(number, nth=nth, kinds=(kind,))
        failure = refusal(partition, b"y" * 150)
        if failure is not None:
            refused += 1
            assert not failure.final
            if len(partition.segments) == 1:
                assert set(disk.list("/data/t-0")) == before
            else:
                assert (partition.segments[1].size_bytes, disk.size(partition.segments[1].path)) == (0, 0)
            assert values(partition) == [b"x" * 150]
            partition.append([b"y" * 150], durable=True)
        disk.faults.clear()
        assert [s.base_offset for s in partition.segments] == [0, 1]
        assert values(partition) == [b"x" * 150, b"y" * 150]
        store.close()
        with open_store(disk) as store:
            assert values(store.partition("t", 0)) == [b"x" * 150, b"y" * 150]
        if not plant.fired:
            assert refused
            return
        nth += 1


def refusal(partition, value):
    """What an append was refused with; None where it was not."""
    try:
        partition.append([value])
    except StorageError as error:
        return error
    return None


def test_a_lost_sidecar_of_our_own_fails_no_append():
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    own = (names.SEALS_FILE, names.SEALS_FILE + ".tmp", *names.TAIL_FILES)
    disk.faults.plant(errno.ENOSPC, path_ends=own, times=None)
    for i in range(4):
        partition.append([b"%d" % i * 150], durable=True)
    disk.faults.clear()
    store.close()
    with open_store(disk) as store:
        assert len(values(store.partition("t", 0))) == 4


# -- a broken disk (S16, S17, S18) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["read_uncommitted", "read_committed"])
def test_an_io_error_of_a_read_fails_that_read_alone_and_is_no_end_of_the_log(isolation):
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"])
    disk.faults.plant(errno.EIO, kinds=("read", "map"))
    with pytest.raises(StorageError) as caught:
        partition.read(0, isolation=isolation)
    assert (caught.value.errno, caught.value.final, caught.value.error_code) == (errno.EIO, False, 56)
    assert values(partition, isolation=isolation) == [b"a"]
    partition.append([b"b"])
    disk.faults.plant(errno.EIO, kinds=("read", "map"))
    with pytest.raises(StorageError):
        partition.offset_for_timestamp(0)
    store.close()


def test_an_io_error_of_a_write_is_final_for_the_directory_and_readers_go_on():
    disk = SimDisk()
    store, partition = new_partition(disk)
    store.create_topic("other")
    other = store.partition("other", 0)
    partition.append([b"a"])
    disk.faults.plant(errno.EIO, kinds=("write",), path_ends=(".log",))
    with pytest.raises(StorageError) as caught:
        partition.append([b"b"])
    assert (caught.value.errno, caught.value.final) == (errno.EIO, True)
    for use in (
        lambda: partition.append([b"c"]),
        lambda: partition.append_batches(kstore.encode_batches([b"c"])),
        lambda: partition.flush(),
        lambda: other.append([b"d"], durable=True),
        lambda: store.create_topic("third"),
        lambda: store.flush(),
    ):
        with pytest.raises(StorageError) as later:
            use()
        assert later.value.final
    assert values(partition) == [b"a"]
    store.close()
    assert not disk.exists(f"/data/{names.CLEAN_SHUTDOWN_FILE}")
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"a"]


def test_a_failed_fsync_is_final_though_the_next_would_succeed():
    disk = SimDisk(medium=True)
    store, partition = new_partition(disk)
    partition.append([b"safe"], durable=True)
    disk.faults.plant(errno.EIO, kinds=("sync",), path_ends=(".log",))
    with pytest.raises(StorageError) as caught:
        partition.append([b"lost"], durable=True)
    assert caught.value.final
    with pytest.raises(StorageError):
        partition.flush()
    with pytest.raises(StorageError):
        partition.append([b"later"], durable=True)
    assert partition.recovery_point == 1
    store.close()
    assert not disk.exists(f"/data/{names.CLEAN_SHUTDOWN_FILE}")
    with open_store(power_off(disk)) as store:
        assert values(store.partition("t", 0)) == [b"safe"]


def test_even_a_passing_errno_of_an_fsync_is_final():
    disk = SimDisk()
    store, partition = new_partition(disk)
    disk.faults.plant(errno.ENOSPC, kinds=("sync",), path_ends=(".log",))
    with pytest.raises(StorageError) as caught:
        partition.append([b"v"], durable=True)
    assert caught.value.final
    store.close()


def test_a_failed_fsync_is_told_to_everybody_who_waits_for_it():
    disk = SimDisk()
    store, partition = new_partition(disk)
    began, go = threading.Event(), threading.Event()

    def hold(kind, path):
        if kind == "sync" and path == LOG and not began.is_set():
            began.set()
            disk._mutex.release()
            assert go.wait(20)
            disk._mutex.acquire()

    outcomes = []

    def append():
        try:
            partition.append([b"v"], durable=True)
            outcomes.append("durable")
        except StorageError as error:
            outcomes.append(error.final)

    disk.faults.on_call = hold
    disk.faults.plant(errno.EIO, kinds=("sync",), path_ends=(".log",))
    threads = [threading.Thread(target=append, daemon=True)]
    threads[0].start()
    assert began.wait(20)
    for _ in range(3):
        threads.append(threading.Thread(target=append, daemon=True))
        threads[-1].start()
    while partition.log_end_offset < 4 or len(partition._commit._changed._waiters) < 3:
        pass
    go.set()
    for thread in threads:
        thread.join(20)
    assert outcomes == [True] * 4
    assert partition.recovery_point == 0
    store.close()


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
        threads.append(
            threading.Thread(target=partition.append, args=([b"v"],), kwargs={"durable": True}, daemon=True)
        )
        threads[-1].start()
    while partition.log_end_offset < 8 or len(partition._commit._changed._waiters) < 7:
        pass    # appended though the fsync is under way: the writer lock is free
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


# -- rolls ------------------------------------------------------------------------------------------------------


def bases(partition):
    return [segment.base_offset for segment in partition.segments]


def test_a_segment_rolls_by_size_before_the_batch_that_would_pass_it():
    store, partition = new_partition(internal_segment_bytes=500)
    with store:
        for _ in range(7):
            partition.append([b"x" * 100])
        sizes = [segment.size_bytes for segment in partition.segments]
        assert all(size <= 500 for size in sizes)
        assert sizes[0] + sizes[0] // 2 > 500, "rolled too early"
        assert bases(partition) == [0, 2, 4, 6]


def test_a_segment_rolls_by_record_time_and_never_by_the_clock():
    store, partition = new_partition(segment_ms=1000)
    with store:
        for timestamp in (50, 1050, 40, 1051, 2051, 2052):
            partition.append([b"v"], timestamp_ms=timestamp)
        assert bases(partition) == [0, 3, 5]


def test_a_segment_rolls_when_its_index_is_full():
    store, partition = new_partition(segment_index_bytes=24, index_interval_bytes=0)
    with store:
        for i in range(7):
            partition.append([b"v"], timestamp_ms=i)
        counts = [len(segment.offset_index) for segment in partition.segments]
        assert len(counts) > 2
        assert max(counts) <= 3


def test_a_segment_rolls_before_its_relative_offsets_overflow():
    store, partition = new_partition(cleanup_policy="compact")
    log = partition.log
    far = 2**31 - 1
    with store:
        partition.append([b"a"])
        log.append_stamped(batch := kstore.encode_batches([b"b"], base_offset=far), check(batch))
        assert bases(partition) == [0]
        log.append_stamped(batch := kstore.encode_batches([b"c"], base_offset=far + 1), check(batch))
        assert bases(partition) == [0, far + 1]
        assert values(partition) == [b"a", b"b", b"c"]


def check(batch):
    from kstore._native import batch as native

    return native.check(batch, client=False)


def test_a_rolled_index_ends_with_the_segments_largest_timestamp():
    store, partition = new_partition(internal_segment_bytes=300)
    with store:
        partition.append([b"x" * 150], timestamp_ms=NOW_MS)
        partition.append([b"y" * 150], timestamp_ms=NOW_MS + 5)
        entries = partition.segments[0].time_index
        assert [(int(e["timestamp"]), int(e["relative_offset"])) for e in entries] == [(NOW_MS, 0)]


def test_segments_of_two_gigabytes_and_more_are_refused():
    with open_store(SimDisk()) as store, pytest.raises(kstore.InvalidConfig, match=r"segment\.bytes=2147483648"):
        store.create_topic("t", config={"segment.bytes": 2**31})


def test_a_new_configuration_holds_from_the_next_append():
    store, partition = new_partition()
    with store:
        partition.append([b"x" * 200])
        store.alter_topic("t", {"internal.segment.bytes": 300, "max.message.bytes": 250})
        partition.append([b"y" * 100])
        assert bases(partition) == [0, 1]
        with pytest.raises(kstore.BatchTooLarge):
            partition.append([b"z" * 300])


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


# -- the high watermark and truncation --------------------------------------------------------------------------


def test_readers_stop_at_the_high_watermark_of_a_replica():
    store, partition = new_partition()
    with store:
        partition.append([b"seen"])
        partition.log.replicate_from(1)
        partition.append([b"not yet"])
        assert (partition.high_watermark, partition.last_stable_offset, partition.log_end_offset) == (1, 1, 2)
        assert values(partition) == [b"seen"]
        assert partition.offset_for_timestamp(0) == (0, NOW_MS)
        with pytest.raises(kstore.OffsetOutOfRange):
            partition.read(2)
        partition.log.advance_high_watermark(2)
        assert values(partition) == [b"seen", b"not yet"]
        for wrong in (1, 3):
            with pytest.raises(kstore.InvariantError):
                partition.log.advance_high_watermark(wrong)


def test_a_time_is_not_looked_up_above_the_high_watermark():
    store, partition = new_partition()
    with store:
        partition.append([b"a"], timestamp_ms=10)
        partition.log.replicate_from(1)
        partition.append([b"b"], timestamp_ms=20)
        assert partition.offset_for_timestamp(15) is None


def test_a_truncation_below_the_high_watermark_is_an_invariant_broken():
    store, partition = new_partition()
    with store:
        partition.append([b"a", b"b"])
        with pytest.raises(kstore.InvariantError, match="below the high watermark 2"):
            partition.truncate_to(1)
        assert values(partition) == [b"a", b"b"]


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5, 6])
def test_a_truncation_keeps_what_is_below_it(offset):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300, index_interval_bytes=0)
    for i in range(6):
        partition.append([b"%d" % i * 100], timestamp_ms=NOW_MS + i)
    partition.log.replicate_from(0)
    partition.truncate_to(offset)
    partition.log.stand_alone()
    assert partition.log_end_offset == offset
    assert values(partition) == [b"%d" % i * 100 for i in range(offset)]
    assert partition.append([b"new"], timestamp_ms=NOW_MS + 50).base_offset == offset
    assert partition.offset_for_timestamp(NOW_MS + 6) == (offset, NOW_MS + 50)
    expected = [b"%d" % i * 100 for i in range(offset)] + [b"new"]
    store.close()
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == expected
        assert kstore.verify("/data", disk=disk).findings == []


def test_a_truncation_forgets_producers_and_epochs_of_what_it_cut():
    store, partition = new_partition()

    def send(sequence):
        return partition.append_batches(
            kstore.encode_batches(
                [b"v"], timestamp_ms=NOW_MS, producer_id=1, producer_epoch=0, base_sequence=sequence
            )
        )

    with store:
        send(0)
        partition.log.leader_epoch = 4
        send(1)
        assert partition.log.derived.epochs.latest_epoch == 4
        partition.log.replicate_from(1)
        partition.truncate_to(1)
        partition.log.leader_epoch = 0
        assert partition.log.derived.epochs.latest_epoch == 0
        assert not send(1).duplicate
        assert send(0).duplicate


def test_a_truncation_lowers_the_recovery_point_and_syncs_anew():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"], durable=True)
    partition.append([b"b"], durable=True)
    partition.log.replicate_from(1)
    partition.truncate_to(1)
    assert partition.recovery_point == 1
    calls = count_calls(disk)
    partition.append([b"c"], durable=True)
    assert calls["sync", LOG] == 1, "the new record under the old offset was taken for the synced one"
    assert partition.recovery_point == 2
    store.close()


# -- leader epochs ----------------------------------------------------------------------------------------------


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
    store.close()
    with open_store(disk) as store:
        assert store.partition("t", 0).log.derived.epochs.latest_epoch == 7


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
