"""A log on disks that are full or broken: whole or not at all, told to all who wait, readers go on."""

from __future__ import annotations

import errno
import threading

import pytest

import kstore
from kstore.errors import StorageError
from kstore.log import names
from kstore.testing.simdisk import SimDisk
from support.stores import kill, new_partition, open_store, power_off, values

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


def refusal(partition, value, *, durable=False):
    """What an append was refused with; None where it was not."""
    try:
        partition.append([value], durable=durable)
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


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_writer_that_cannot_look_at_a_file_goes_on_or_says_so(number):
    """A roll takes the digest of what it seals, a flush looks up its end: neither may break for a read."""
    nth = 0
    while True:
        disk = SimDisk()
        store, partition = new_partition(disk, internal_segment_bytes=300)
        plant = disk.faults.plant(number, nth=nth, kinds=("open", "map", "size", "read"))
        for value in VALUES:
            while (failure := refusal(partition, value, durable=value in VALUES[::3])) is not None:
                if failure.final:
                    break
                if partition.log_end_offset > VALUES.index(value):
                    break  # only its durability failed
        disk.faults.clear()
        if store.health.failure is None:
            assert values(partition) == list(VALUES)
        store.close()
        if not plant.fired:
            assert nth > 5
            return
        nth += 1


VALUES = tuple(b"%d" % i * 100 for i in range(9))


@pytest.mark.parametrize("kind", ["log", "index", "timeindex", "snapshot"])
def test_a_segment_that_the_disk_keeps_does_not_take_back_a_deletion(kind):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    for i in range(8):
        partition.append([b"%d" % i * 100])
    disk.faults.plant(errno.EMFILE, kinds=("unlink",), path_ends=(f".{kind}",), times=None)
    with pytest.raises(StorageError) as caught:
        partition.delete_records(5)
    assert not caught.value.final
    assert values(partition) == [b"%d" % i * 100 for i in range(5, 8)]
    store.flush()
    kill(store)
    disk.kill()
    disk.faults.clear()
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert partition.log_start_offset == 5
        assert [base for base in range(8) if disk.exists(f"/data/t-0/{names.log_name(base)}")] == [5, 6, 7]


def test_a_deletion_that_failed_half_way_is_finished_by_the_next_one():
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    for i in range(8):
        partition.append([b"%d" % i * 100])
    disk.faults.plant(errno.EMFILE, kinds=("unlink",), path_ends=(".log",))
    with pytest.raises(StorageError):
        partition.delete_records(5)
    assert partition.segments[0].base_offset == 0
    partition.delete_records(5)
    assert partition.segments[0].base_offset == 5
    assert not disk.exists(f"/data/t-0/{names.log_name(0)}")
    store.close()


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
    for look in (
        lambda: partition.offset_for_timestamp(0),
        lambda: store.groups.names(),
        lambda: store.groups.fold(),
    ):
        disk.faults.clear()
        disk.faults.plant(errno.EIO, kinds=("read", "map", "list"))
        with pytest.raises(StorageError) as caught:
            look()
        assert not caught.value.final
    disk.faults.clear()
    assert values(partition, isolation=isolation) == [b"a", b"b"]
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


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("earlier", [0, 300])
def test_what_an_fsync_failed_on_is_on_the_medium_after_a_recovery(rolled, earlier):
    """S18: the page cache outlives the process, and its pages count as clean; a recovery must not rest on them."""
    disk = SimDisk(medium=True)
    store, partition = new_partition(disk, internal_segment_bytes=40_000)
    for _ in range(earlier):
        partition.append([bytes(50)])
    store.flush()
    if rolled:
        partition.append([bytes(30_000)])
        partition.append([bytes(20_000)])
    disk.faults.plant(errno.EIO, kinds=("sync",), path_ends=(".log",))
    with pytest.raises(StorageError):
        partition.append([b"unsure"], durable=True)
    end = partition.log_end_offset
    kill(store)
    disk.kill()
    kill(open_store(disk))
    disk.kill()
    with open_store(power_off(disk)) as store:
        partition = store.partition("t", 0)
        assert partition.log_end_offset == end
        assert values(partition)[-1] == b"unsure"


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
