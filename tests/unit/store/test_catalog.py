"""The catalogue: losing it costs configuration, never data."""

from __future__ import annotations

import errno

import pytest

from kstore.config import StoreConfig
from kstore.errors import InvalidConfig
from kstore.store.catalog import FILE_NAME, Catalog, Entry, Topic, decode, encode, strings
from kstore.testing.simdisk import SimDisk
from support.stores import new_partition, open_store, values

ENTRIES = {"a": Entry("id", 2, {"retention.ms": "5"}), "b": Entry("", 0, {}, "deleting")}


def test_entries_come_back():
    assert decode(encode(ENTRIES)) == ENTRIES


def test_any_flipped_bit_makes_it_absent():
    data = encode(ENTRIES)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(flipped)) is None, f"bit {bit}"


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_cut_makes_it_absent(cut):
    assert decode(encode(ENTRIES)[:cut]) is None


def test_a_lost_catalogue_costs_configuration_and_no_record():
    disk = SimDisk()
    store, partition = new_partition(disk, retention_ms=5)
    topic_id = store.topic("t").topic_id
    partition.append([b"v"])
    store.close()
    disk.write_file(f"/data/{FILE_NAME}", b"nonsense")
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"v"]
        topic = store.topic("t")
        assert (topic.topic_id, topic.config.retention_ms) == (topic_id, 604_800_000)


def catalog(disk=None, config=None):
    disk = disk or SimDisk()
    if not disk.exists("/d"):
        disk.make_dir("/d")
    found = Catalog(disk, "/d", StoreConfig.parse(config))
    found.load({})
    return found


def test_a_write_that_fails_changes_nothing():
    disk = SimDisk()
    one = catalog(disk)
    one.put("a", ENTRIES["a"])
    disk.faults.plant(errno.ENOSPC, kinds=("write",))
    with pytest.raises(OSError):
        one.put("b", ENTRIES["b"])
    assert one.unfinished() == catalog(disk).unfinished() == {}
    assert catalog(disk).topic_id("a") == "id"


def test_unfinished_business_is_remembered():
    disk = SimDisk()
    one = catalog(disk)
    for name, entry in ENTRIES.items():
        one.put(name, entry)
    assert catalog(disk).unfinished() == {"b": ENTRIES["b"]}
    one.remove("b")
    assert catalog(disk).unfinished() == {}


def test_a_stored_value_that_no_longer_fits_leaves_the_others_in_force():
    one = catalog()
    one.put("a", Entry("", 1, {"retention.ms": "5", "segment.bytes": "1", "unknown.key": "x"}))
    assert one.config("a").retention_ms == 5
    assert one.config("a").segment_bytes == 1 << 30


def test_inherited_configs_hold_until_our_own_say_otherwise():
    disk = SimDisk()
    one = catalog(disk)
    one.put("a", Entry("", 1, {"retention.ms": "5"}))
    other = Catalog(disk, "/d", StoreConfig())
    other.load({"a": {"retention.ms": "7"}, "k": {"retention.ms": "9"}})
    assert (other.config("a").retention_ms, other.config("k").retention_ms) == (5, 9)


def test_a_bad_change_is_refused_whole():
    one = catalog()
    one.put("a", Entry("", 1, {"retention.ms": "5"}))
    with pytest.raises(InvalidConfig):
        one.alter("a", 1, {"retention.ms": 6, "segment.ms": 0})
    assert one.config("a").retention_ms == 5
    assert one.alter("a", 1, {"retention.ms": 6}).retention_ms == 6


def test_values_are_written_as_kafka_writes_them():
    assert strings({"a": True, "b": ["x", "y"], "c": 5, "d": 0.5}) == {"a": "true", "b": "x,y", "c": "5", "d": "0.5"}


@pytest.mark.parametrize(("partitions", "count"), [((), 0), ((0,), 1), ((0, 3), 4)])
def test_the_count_of_partitions_covers_the_highest(partitions, count):
    assert Topic("t", partitions, "", StoreConfig().topic(None)).partition_count == count
