"""A topic grows: its records stay, and a crash at any point leaves a topic that the next open finishes."""

from __future__ import annotations

import errno

import pytest

from kstore.errors import StorageError, UnknownTopicOrPartition, UsageError
from kstore.testing.crash_states import Walk
from kstore.testing.simdisk import SimDisk
from support.stores import kill, open_store, values


def test_new_partitions_are_there_and_old_records_stay():
    disk = SimDisk()
    with open_store(disk) as store:
        made = store.create_topic("t", 2, {"retention.ms": 5})
        store.partition("t", 1).append([b"kept"], durable=True)
        grown = store.grow_topic("t", 5)
        assert (grown.partitions, grown.topic_id) == ((0, 1, 2, 3, 4), made.topic_id)
        store.partition("t", 4).append([b"new"])
    with open_store(disk) as store:
        topic = store.topic("t")
        assert (topic.partitions, topic.topic_id) == ((0, 1, 2, 3, 4), made.topic_id)
        assert topic.overrides == {"retention.ms": "5"}
        assert values(store.partition("t", 1)) == [b"kept"]
        assert values(store.partition("t", 4)) == [b"new"]


def test_what_does_not_grow():
    with open_store(SimDisk()) as store:
        store.create_topic("t", 2)
        for count in (2, 1, 0, -1):
            with pytest.raises(UsageError):
                store.grow_topic("t", count)
        with pytest.raises(UnknownTopicOrPartition):
            store.grow_topic("absent", 3)
        assert store.topic("t").partitions == (0, 1)


def test_every_crash_while_it_grows_leaves_the_old_topic_or_the_new():
    disk = SimDisk(record=True)
    store = open_store(disk)
    topic_id = store.create_topic("t", 1).topic_id
    store.partition("t", 0).append([b"kept"], durable=True)
    begin = len(disk.trace.operations)
    store.grow_topic("t", 3)
    disk.note("grown")
    seen = set()
    for state in Walk(disk.trace, 0, limit=8, samples=2):
        if state.boundary < begin:
            continue
        after = SimDisk(state.image)
        with open_store(after) as again:
            topic = again.topic("t")
            assert topic.partitions in ((0,), (0, 1, 2)), state
            assert topic.topic_id == topic_id
            assert values(again.partition("t", 0)) == [b"kept"]
            if state.notes:
                assert topic.partitions == (0, 1, 2), state
            for index in topic.partitions[1:]:
                assert values(again.partition("t", index)) == []
                again.partition("t", index).append([b"x"])
            seen.add(topic.partitions)
    assert seen == {(0,), (0, 1, 2)}


def test_growth_that_the_disk_refuses_is_finished_by_the_next_open():
    for call in range(200):
        disk = SimDisk()
        store = open_store(disk)
        store.create_topic("t", 1)
        store.partition("t", 0).append([b"kept"], durable=True)
        fault = disk.faults.plant(errno.ENOSPC, nth=call)
        try:
            store.grow_topic("t", 3)
            store.abandon()
            assert fault.fired == 0
            assert call > 10
            return
        except StorageError:
            assert store.topic("t").partitions == (0,)
            assert values(store.partition("t", 0)) == [b"kept"]
        kill(store)
        with open_store(disk) as again:
            assert again.topic("t").partitions in ((0,), (0, 1, 2))
            assert values(again.partition("t", 0)) == [b"kept"]
    raise AssertionError("growth takes more than 200 calls")
