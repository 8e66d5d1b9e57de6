"""Idempotent producers and transactions, as the users of a partition see them."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, kill, new_partition, open_store, values


@pytest.fixture
def partition():
    store, partition = new_partition()
    with store:
        yield partition


# -- producers ----------------------------------------------------------------------------------------------------


def send(partition, sequence, count=1, *, producer=5, epoch=0, transactional=False, data=b"v"):
    return partition.append_batches(
        kstore.encode_batches(
            [data] * count,
            timestamp_ms=NOW_MS,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=sequence,
            transactional=transactional,
        )
    )


def test_a_batch_sent_again_gets_its_old_offsets(partition):
    partition.append([b"other"])
    first = send(partition, 0, 3)
    partition.append([b"other"])
    again = send(partition, 0, 3)
    assert (first.base_offset, first.next_offset, first.duplicate) == (1, 4, False)
    assert (again.base_offset, again.next_offset, again.duplicate) == (1, 4, True)
    assert partition.log_end_offset == 5


def test_five_batches_back_are_remembered_and_a_sixth_is_not(partition):
    for sequence in range(6):
        send(partition, sequence)
    assert all(send(partition, sequence).duplicate for sequence in range(1, 6))
    with pytest.raises(kstore.KStoreError) as caught:
        send(partition, 0)
    assert caught.value.error_code in (45, 46)
    assert partition.log_end_offset == 6


def test_a_gap_in_the_sequence_is_refused(partition):
    send(partition, 0)
    with pytest.raises(kstore.OutOfOrderSequence):
        send(partition, 2)
    assert send(partition, 1).base_offset == 1


def test_the_sequence_wraps_to_zero(partition):
    send(partition, 2**31 - 2, 2)
    assert not send(partition, 0).duplicate
    assert not send(partition, 1).duplicate
    assert send(partition, 2**31 - 2, 2).duplicate


def test_an_older_epoch_is_fenced_and_a_newer_one_starts_over(partition):
    send(partition, 0, epoch=1)
    with pytest.raises(kstore.InvalidProducerEpoch):
        send(partition, 1, epoch=0)
    with pytest.raises(kstore.OutOfOrderSequence):
        send(partition, 1, epoch=2)
    assert send(partition, 0, epoch=2).base_offset == 1


def test_producers_are_remembered_over_a_stop_and_over_a_kill():
    disk = SimDisk()
    store, partition = new_partition(disk)
    send(partition, 0)
    kill(store)
    with open_store(disk) as store:
        assert send(store.partition("t", 0), 0).duplicate
        send(store.partition("t", 0), 1)
    with open_store(disk) as store:
        assert send(store.partition("t", 0), 1).duplicate
        assert store.partition("t", 0).log_end_offset == 2


def test_a_refused_write_does_not_move_the_sequence():
    disk = SimDisk()
    store, partition = new_partition(disk)
    send(partition, 0)
    disk.faults.plant(errno.ENOSPC, kinds=("write",), path_ends=(".log",))
    with pytest.raises(kstore.StorageError):
        send(partition, 1)
    assert not send(partition, 1).duplicate
    store.close()


# -- transactions -------------------------------------------------------------------------------------------------


def test_an_open_transaction_holds_readers_of_committed_data(partition):
    partition.append([b"before"])
    send(partition, 0, transactional=True, data=b"open")
    partition.append([b"after"])
    assert (partition.last_stable_offset, partition.high_watermark) == (1, 3)
    assert values(partition, isolation="read_committed") == [b"before"]
    assert values(partition) == [b"before", b"open", b"after"]
    with pytest.raises(kstore.OffsetOutOfRange):
        partition.read(4, isolation="read_committed")


@pytest.mark.parametrize(("commit", "seen"), [(True, [b"a", b"t", b"b"]), (False, [b"a", b"b"])])
def test_a_marker_ends_a_transaction(partition, commit, seen):
    partition.append([b"a"])
    send(partition, 0, transactional=True, data=b"t")
    partition.append([b"b"])
    done = partition.end_transaction(5, 0, commit=commit, coordinator_epoch=3)
    assert (done.base_offset, done.next_offset) == (3, 4)
    assert partition.last_stable_offset == 4
    assert values(partition, isolation="read_committed") == seen
    assert values(partition) == [b"a", b"t", b"b"]


def test_control_records_show_on_request_only(partition):
    send(partition, 0, transactional=True)
    partition.end_transaction(5, 0, commit=True)
    assert [r.offset for r in partition.read(0)] == [0]
    assert [r.offset for r in partition.read(0).records(control=True)] == [0, 1]


def test_the_oldest_of_several_transactions_decides(partition):
    send(partition, 0, producer=1, transactional=True, data=b"one")
    send(partition, 0, producer=2, transactional=True, data=b"two")
    partition.end_transaction(2, 0, commit=False)
    assert partition.last_stable_offset == 0
    partition.end_transaction(1, 0, commit=True)
    assert partition.last_stable_offset == 4
    assert values(partition, isolation="read_committed") == [b"one"]


@pytest.mark.parametrize("stop", ["close", "kill"])
def test_transactions_survive_a_stop(stop):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    send(partition, 0, producer=1, transactional=True, data=b"aborted")
    partition.end_transaction(1, 0, commit=False)
    partition.append([b"x" * 150])
    partition.append([b"y" * 150])
    send(partition, 0, producer=2, transactional=True, data=b"open")
    stable = partition.last_stable_offset
    store.close() if stop == "close" else kill(store)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert len(partition.segments) > 1
        assert partition.last_stable_offset == stable == 4
        assert values(partition, isolation="read_committed") == [b"x" * 150, b"y" * 150]


def test_a_marker_of_an_older_epoch_is_fenced(partition):
    send(partition, 0, epoch=3, transactional=True)
    with pytest.raises(kstore.InvalidProducerEpoch):
        partition.end_transaction(5, 2, commit=True)
    assert partition.log_end_offset == 1
