"""A store: one writer for a directory, topics whole or not at all, the marker of a clean stop."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

import kstore
from kstore.log import names
from kstore.testing.simdisk import SimDisk
from support.promises import reopen
from support.stores import NOW_MS, Clock, kill, new_partition, open_store, power_off, values

MARKER = f"/data/{names.CLEAN_SHUTDOWN_FILE}"


# -- opening ------------------------------------------------------------------------------------------------------


def test_an_absent_directory_is_made_with_those_above_it_and_survives_a_power_loss():
    disk = SimDisk(medium=True)
    store = open_store(disk, root="/a/b/c")
    store.create_topic("t")
    with open_store(power_off(disk), root="/a/b/c") as after:
        assert list(after.topics()) == ["t"]
    store.close()


@pytest.mark.parametrize("how", [{"create": False}, {"read_only": True}])
def test_an_absent_directory_is_not_made_where_it_must_not_be(tmp_path, how):
    with pytest.raises(kstore.NotALogDirectory, match="create=True"):
        kstore.open(tmp_path / "none", **how)
    assert not (tmp_path / "none").exists()


def test_a_new_directory_has_kafkas_files_and_an_identity(tmp_path):
    kstore.open(tmp_path, config={"node.id": 7}).close()
    properties = (tmp_path / "meta.properties").read_text()
    assert "node.id=7" in properties
    assert "version=1" in properties
    assert names.CLEAN_SHUTDOWN_FILE in os.listdir(tmp_path)


def test_a_second_opener_is_told_who_holds_the_directory(tmp_path):
    with kstore.open(tmp_path / "d") as store:
        with pytest.raises(kstore.StoreLocked) as caught:
            kstore.open(tmp_path / "d")
        assert str(os.getpid()) in caught.value.holder
        assert "read_only=True" in str(caught.value)
        store.create_topic("still-works")
    kstore.open(tmp_path / "d").close()


def test_another_process_is_told_too(tmp_path):
    with kstore.open(tmp_path / "d"):
        path = str(tmp_path / "d")
        code = f"import kstore\ntry: kstore.open({path!r})\nexcept kstore.StoreLocked as e: print(e.holder)"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert str(os.getpid()) in found.stdout


def test_a_failed_open_gives_the_lock_back():
    disk = SimDisk()
    open_store(disk).close()
    disk.faults.plant(errno.EIO, kinds=("rename", "unlink"))
    with pytest.raises(kstore.StorageError):
        open_store(disk)
    open_store(disk).close()


def test_a_bad_config_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(kstore.InvalidConfig):
        kstore.open(tmp_path / "d", config={"log.segment.byte": 1})
    assert not (tmp_path / "d").exists()


# -- the clean marker ---------------------------------------------------------------------------------------------


def test_the_marker_is_gone_before_anything_else_changes_and_comes_back_last():
    disk = SimDisk()
    open_store(disk).close()
    assert disk.exists(MARKER)
    changes = []
    disk.faults.on_call = lambda kind, path: changes.append((kind, path)) if kind not in (
        "open", "read", "map", "size", "list", "lock"
    ) else None  # fmt: skip
    store = open_store(disk)
    assert not disk.exists(MARKER)
    logs = [i for i, (_, path) in enumerate(changes) if "/t-" in path or path.endswith("checkpoint")]
    assert changes.index(("unlink", MARKER)) < min(logs, default=1000)
    store.create_topic("t")
    store.partition("t", 0).append([b"v"])
    changes.clear()
    store.close()
    order = [path for kind, path in changes if kind == "rename"]
    assert order[-1].startswith(MARKER) or names.TWIN_FILE in order[-1]
    marker = max(i for i, (kind, path) in enumerate(changes) if path.startswith(MARKER))
    for name in (names.RECOVERY_POINTS_FILE, names.HIGH_WATERMARKS_FILE):
        assert max(i for i, (_, path) in enumerate(changes) if name in path) < marker
    assert max(i for i, (kind, path) in enumerate(changes) if kind == "sync" and path.endswith(".log")) < marker


def test_a_stop_that_fails_is_not_clean():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"v"])
    disk.faults.plant(errno.EIO, kinds=("sync",), path_ends=(".log",))
    with pytest.raises(kstore.StorageError):
        store.close()
    assert not disk.exists(MARKER)
    store.close()
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"v"]


def test_an_unclean_directory_is_recovered_whole_when_open_returns():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"v"])
    kill(store)
    disk.open_file(partition.segments[0].path).write_at(b"torn", disk.size(partition.segments[0].path))
    store = open_store(disk)
    assert disk.size("/data/t-0/00000000000000000000.log") == 69
    store.close()


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_come_go_and_are_listed():
    with open_store(SimDisk()) as store:
        made = store.create_topic("b", partitions=3, config={"retention.ms": 86_400_000})
        assert (made.name, made.partitions, made.partition_count) == ("b", (0, 1, 2), 3)
        assert made.config.retention_ms == 86_400_000
        assert len(made.topic_id) == 22
        store.create_topic("a", topic_id=made.topic_id)
        assert list(store.topics()) == ["a", "b"]
        store.delete_topic("b")
        assert list(store.topics()) == ["a"]
        with pytest.raises(kstore.UnknownTopicOrPartition):
            store.partition("b", 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "ä", "x" * 250, "a b"])
def test_a_name_that_kafka_refuses_makes_nothing(name):
    disk = SimDisk()
    with open_store(disk) as store:
        before = set(disk.files())
        with pytest.raises(kstore.InvalidTopicName):
            store.create_topic(name)
        assert set(disk.files()) == before


def test_wrong_uses_of_topics_say_what_would_be_right():
    with open_store(SimDisk()) as store:
        store.create_topic("orders.eu", partitions=2)
        with pytest.raises(kstore.TopicExists, match=r"orders\.eu exists"):
            store.create_topic("orders.eu")
        with pytest.raises(kstore.TopicExists, match="collides with"):
            store.create_topic("orders_eu")
        with pytest.raises(kstore.UsageError, match="at least one partition"):
            store.create_topic("x", partitions=0)
        with pytest.raises(kstore.UsageError, match="22 characters"):
            store.create_topic("x", topic_id="short")
        with pytest.raises(kstore.UsageError, match="metadata log"):
            store.create_topic("__cluster_metadata")
        with pytest.raises(kstore.InvalidConfig, match=r"did you mean retention\.ms"):
            store.create_topic("x", config={"retention.m": 1})
        with pytest.raises(kstore.UnknownTopicOrPartition, match=r"did you mean orders\.eu"):
            store.partition("orders.e", 0)
        with pytest.raises(kstore.UnknownTopicOrPartition, match=r"no partition 2.*it has 0 to 1"):
            store.partition("orders.eu", 2)
        for use in (store.delete_topic, store.topic, lambda name: store.alter_topic(name, {})):
            with pytest.raises(kstore.UnknownTopicOrPartition, match="topics list"):
                use("none")
        assert list(store.topics()) == ["orders.eu"]


def test_a_partition_is_one_object():
    with open_store(SimDisk()) as store:
        store.create_topic("t")
        assert store.partition("t", 0) is store.partition("t", 0)


@pytest.mark.parametrize("act", ["create", "delete"])
def test_a_topic_whose_making_or_end_fails_anywhere_is_whole_or_gone_after_the_next_open(act):
    nth = 0
    while True:
        disk = SimDisk(medium=True)
        store = open_store(disk)
        store.create_topic("other")
        if act == "delete":
            store.create_topic("t", partitions=2)
            store.partition("t", 0).append([b"v"])
        plant = disk.faults.plant(errno.EIO, nth=nth, times=None)
        failed = False
        try:
            store.create_topic("t", partitions=2) if act == "create" else store.delete_topic("t")
        except kstore.StorageError:
            failed = True
        image = power_off(disk)
        disk.faults.clear()
        kill(store)
        for after in (disk, image):
            with open_store(after) as store:
                found = store.topics()
                assert set(found) in ({"other"}, {"other", "t"})
                if "t" in found:
                    assert found["t"].partitions == (0, 1), f"failed call {nth}"
                    store.partition("t", 1).append([b"v"])
                else:
                    assert not [name for name in after.list("/data") if name.startswith("t-")]
                    store.create_topic("t")
                if not failed:
                    assert ("t" in found) == (act == "create")
        if not plant.fired:
            assert nth > 5
            return
        nth += 1


def test_a_topic_that_a_full_disk_keeps_is_there_as_it_was():
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    for i in range(6):
        partition.append([b"%d" % i * 100])
    partition.delete_records(3)
    disk.faults.plant(errno.ENOSPC, kinds=("write",), path_ends=("kstore-topics.tmp",))
    with pytest.raises(kstore.StorageError) as caught:
        store.delete_topic("t")
    assert not caught.value.final
    assert store.partition("t", 0) is partition
    assert partition.append([b"on"]).base_offset == 6
    store.flush()
    kill(store)
    disk.kill()
    with open_store(disk) as store:
        assert store.partition("t", 0).log_start_offset == 3
        store.delete_topic("t")
        assert store.topics() == {}


@pytest.mark.parametrize("kind", ["rename", "unlink", "remove_dir"])
@pytest.mark.parametrize("nth", range(3))
def test_a_topic_of_the_same_name_begins_anew_though_the_old_one_is_half_deleted(kind, nth):
    disk = SimDisk()
    store, partition = new_partition(disk)
    store.grow_topic("t", 3)
    partition.append([b"old"])
    disk.faults.plant(errno.EMFILE, kinds=(kind,), nth=nth + (kind == "rename"))  # the first one notes the deletion
    with pytest.raises(kstore.StorageError):
        store.delete_topic("t")
    disk.faults.clear()
    assert store.topics() == {}
    store.create_topic("t")
    assert store.topic("t").partition_count == 1
    assert store.partition("t", 0).log_end_offset == 0
    store.partition("t", 0).append([b"new"])
    kill(store)
    disk.kill()
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == [b"new"]
        assert store.topic("t").partition_count == 1


def test_a_file_that_is_not_kafkas_keeps_a_deleted_topics_directory():
    disk = SimDisk()
    with open_store(disk) as store:
        store.create_topic("t")
        disk.write_file("/data/t-0/notes.txt", b"mine")
        store.delete_topic("t")
        assert "t" not in store.topics()
    assert [data for path, data in disk.files().items() if path.endswith("notes.txt")] == [b"mine"]


def test_kafkas_own_metadata_log_is_no_topic_and_is_left_alone():
    disk = SimDisk()
    open_store(disk).close()
    disk.make_dir("/data/__cluster_metadata-0")
    disk.write_file(f"/data/__cluster_metadata-0/{names.log_name(0)}", b"not to be touched")
    before = {p: d for p, d in disk.files().items() if "__cluster" in p}
    with open_store(disk) as store:
        assert store.topics() == {}
        with pytest.raises(kstore.UnknownTopicOrPartition):
            store.partition("__cluster_metadata", 0)
    assert {p: d for p, d in disk.files().items() if "__cluster" in p} == before


def test_an_altered_config_is_kept_and_a_bad_one_changes_nothing():
    disk = SimDisk()
    with open_store(disk) as store:
        store.create_topic("t", config={"retention.ms": 5})
        store.alter_topic("t", {"segment.ms": 9})
        with pytest.raises(kstore.InvalidConfig):
            store.alter_topic("t", {"segment.ms": 0})
    with open_store(disk) as store:
        config = store.topic("t").config
        assert (config.retention_ms, config.segment_ms) == (5, 9)


# -- flush, tick, close -------------------------------------------------------------------------------------------


def test_flush_makes_everything_durable_and_says_so_in_the_checkpoint():
    disk = SimDisk(medium=True)
    store, partition = new_partition(disk)
    partition.append([b"v"])
    store.flush()
    assert b"t 0 1" in disk.read_file(f"/data/{names.RECOVERY_POINTS_FILE}")
    with open_store(power_off(disk)) as after:
        assert values(after.partition("t", 0)) == [b"v"]
    store.close()


@pytest.mark.parametrize(
    ("config", "due_ms"),
    [
        ({}, 5_000),
        ({"replica.high.watermark.checkpoint.interval.ms": 90_000}, 60_000),
        ({"log.flush.offset.checkpoint.interval.ms": 700}, 700),
    ],
)
def test_a_tick_flushes_and_writes_checkpoints_when_they_are_due(config, due_ms):
    clock = Clock()
    disk = SimDisk()
    store = open_store(disk, clock=clock, config=config)
    store.create_topic("t")
    partition = store.partition("t", 0)
    partition.append([b"v"])
    points = f"/data/{names.RECOVERY_POINTS_FILE}"
    clock.now_ms = NOW_MS + due_ms - 1
    store.tick()
    assert partition.recovery_point == 1
    assert not disk.exists(points) or b"t 0 1" not in disk.read_file(points)
    clock.now_ms = NOW_MS + due_ms
    store.tick()
    assert b"t 0 1" in disk.read_file(points)
    store.close()


def test_the_background_thread_flushes_by_itself_and_ends_with_the_store(tmp_path):
    store = kstore.open(tmp_path / "d", config={"log.flush.scheduler.interval.ms": 5})
    thread = store._ticker._thread
    store.create_topic("t")
    partition = store.partition("t", 0)
    partition.append([b"v"])
    for _ in range(2000):
        if partition.recovery_point == 1:
            break
        thread.join(0.01)
    assert partition.recovery_point == 1
    store.close()
    assert not thread.is_alive()


def test_a_closed_store_says_so_and_closes_twice():
    store, partition = new_partition()
    batches = partition.read(0)
    store.close()
    store.close()
    assert list(batches) == []
    for use in (
        store.topics, lambda: store.topic("t"), lambda: store.create_topic("x"), lambda: store.delete_topic("t"),
        lambda: store.partition("t", 0), store.flush, lambda: partition.append([b"v"]), lambda: partition.read(0),
    ):  # fmt: skip
        with pytest.raises(kstore.ClosedError):
            use()


def test_a_read_only_store_refuses_changes_and_says_how_to_make_them():
    disk = SimDisk()
    new_partition(disk)[0].close()
    with open_store(disk, read_only=True) as store:
        for use in (
            lambda: store.create_topic("x"), lambda: store.delete_topic("t"), lambda: store.alter_topic("t", {}),
            store.flush,
        ):  # fmt: skip
            with pytest.raises(kstore.UsageError, match="without read_only=True"):
                use()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_descriptors_are_few_while_open_and_none_after(tmp_path):
    before = open_descriptors()
    with kstore.open(tmp_path / "d") as store:
        store.create_topic("t", config={"internal.segment.bytes": 200})
        partition = store.partition("t", 0)
        for i in range(100):
            partition.append([b"%03d" % i * 40], timestamp_ms=i)
        assert len(values(partition)) == 100
        assert partition.offset_for_timestamp(50) == (50, 50)
        assert len(partition.segments) == 100
        assert open_descriptors() < before + 20
    assert open_descriptors() == before


@pytest.mark.parametrize("meanwhile", ["nothing", "stop", "kill"])
def test_a_topic_made_again_under_its_name_inherits_nothing(meanwhile):
    disk = SimDisk()
    store = reopen(disk)
    store.create_topic("t")
    log = store.partition("t", 0)
    for _ in range(9):
        log.append([b"old"])
    log.delete_records(5)
    store.flush()
    store.delete_topic("t")
    if meanwhile == "stop":
        store.close()
    if meanwhile != "nothing":
        disk.kill()
        store = reopen(disk)
    store.create_topic("t")
    log = store.partition("t", 0)
    assert (log.log_start_offset, log.log_end_offset, store.high_watermark("t", 0)) == (0, 0, 0)
    log.append([b"new"], durable=True)
    log.append([b"torn"])
    path = log.segments[-1].path
    file = disk.open_file(path)
    file.truncate(disk.size(path) - 5)
    disk.kill()
    log = reopen(disk).partition("t", 0)
    assert [record.value for record in log.read(0)] == [b"new"]
    assert (log.log_end_offset, log.log.derived.damage) == (1, ())
