"""Topics as directories, found again by their names."""

from __future__ import annotations

import pytest

from kstore.log import names
from kstore.log.checkpoints import format_partition_metadata
from kstore.store import topics
from kstore.testing.simdisk import SimDisk

TOPIC_ID = names.uuid_to_text(bytes(range(16)))


def test_partitions_are_found_by_their_directories_and_nothing_else_is():
    listing = ["b-1", "b-0", "a-b-2", "b-10", "x", "__cluster_metadata-0", names.delete_dir_name("c", 0)]
    disk = SimDisk()
    for name in listing:
        disk.make_dir(f"/d/{name}")
    disk.write_file("/d/f-0", b"a file is none")
    assert topics.partitions_of(disk, "/d") == {"b": [0, 1, 10], "a-b": [2]}


@pytest.mark.parametrize(
    "name",
    [
        names.log_name(0), names.index_name(5), names.snapshot_name(9), "leader-epoch-checkpoint",
        "partition.metadata", "kstore-seals", names.log_name(0) + ".7.corrupt", names.log_name(0) + ".deleted",
    ],
)  # fmt: skip
def test_files_of_a_log_may_be_removed_with_it(name):
    assert topics.is_log_file(name)


@pytest.mark.parametrize("name", ["notes.txt", "0.log", "partition.metadata.bak", "dump"])
def test_other_files_may_not(name):
    assert not topics.is_log_file(name)


def test_the_topic_id_is_kafkas_own_where_there_is_one():
    disk = SimDisk()
    disk.make_dir("/d/t-0")
    assert topics.stored_id(disk, "/d", "t", [0]) == ""
    disk.write_file("/d/t-0/partition.metadata", format_partition_metadata(bytes(range(16))))
    assert topics.stored_id(disk, "/d", "t", [0]) == TOPIC_ID


def test_a_directory_that_kafka_marked_for_deletion_is_deleted_at_the_next_open():
    from support.stores import open_store

    disk = SimDisk()
    open_store(disk).close()
    doomed = f"/data/{names.delete_dir_name('t', 0)}"
    disk.make_dir(doomed)
    disk.write_file(f"{doomed}/{names.log_name(0)}", b"")
    with open_store(disk) as store:
        assert store.topics() == {}
    assert not disk.exists(doomed)
