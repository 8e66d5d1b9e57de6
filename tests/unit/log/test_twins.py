"""Checkpoints and their twins: whom to believe, after every kind of stop, with every bit flipped once."""

from __future__ import annotations

import errno

import pytest

from kstore.errors import UsageError
from kstore.log import names
from kstore.log.checkpoints import format_clean_shutdown, format_offsets
from kstore.log.epochs import LeaderEpochs
from kstore.log.properties import MetaProperties, format_meta_properties
from kstore.log.twins import PartitionFiles, RecoveryPoint, RootCheckpoints
from support.memory_disk import MemoryDisk

RP, STARTS = names.RECOVERY_POINTS_FILE, names.LOG_STARTS_FILE
MARKS, CLEANED = names.HIGH_WATERMARKS_FILE, names.CLEANER_OFFSETS_FILE
MARKER, TWIN, META = names.CLEAN_SHUTDOWN_FILE, names.TWIN_FILE, names.META_PROPERTIES_FILE
ORDERS, TRIM = ("orders", 0), ("trim", 0)
POINTS = {ORDERS: 150, TRIM: 140}
META_BYTES = format_meta_properties(MetaProperties("cluster", 1, bytes(range(16))), now_ms=0)


def path(name):
    return f"root/{name}"


def kafka(disk, *, broker_epoch=12, points=POINTS, starts=None, marks=None):
    """The root as a Kafka leaves it: with a marker after a clean stop, without (None) after a kill."""
    disk.files[path(RP)] = format_offsets(points)
    disk.files[path(STARTS)] = format_offsets({TRIM: 28} if starts is None else starts)
    disk.files[path(MARKS)] = format_offsets(points if marks is None else marks)
    disk.files.setdefault(path(CLEANED), b"")
    disk.files.setdefault(path(META), META_BYTES)
    disk.files.pop(path(MARKER), None)
    if broker_epoch is not None:
        disk.files[path(MARKER)] = format_clean_shutdown(broker_epoch)
    return disk


def reopened(disk):
    return RootCheckpoints.open(disk, "root")


def kstore(disk, *, clean=True, points=POINTS, starts=None):
    """One life of kstore on the directory."""
    root = reopened(disk)
    root.begin()
    root.write_recovery_points(points)
    root.write_high_watermarks(points)
    root.write_log_starts({TRIM: 28} if starts is None else starts)
    root.write_cleaner_offsets({ORDERS: 60})
    if clean:
        root.finish()
    return disk


def flips(disk, name):
    """The disk with each bit of a file flipped, and cut at each length, and without the file."""
    whole = disk.files[path(name)]
    variants = [None, *(whole[:length] for length in range(len(whole)))]
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        variants.append(bytes(flipped))
    for variant in variants:
        files = {**disk.files, path(name): variant}
        if variant is None:
            del files[path(name)]
        yield variant, MemoryDisk(files)


# -- lives --


def test_an_empty_directory():
    root = RootCheckpoints.open(MemoryDisk(), "root")
    assert not root.was_clean
    assert not root.others_ran
    assert root.damaged == ()
    assert root.meta is None
    assert root.recovery_point("orders", 0) == (0, 0)
    assert root.log_start("orders", 0) is root.high_watermark("orders", 0) is None
    assert root.cleaner_offset("orders", 0) is None


def test_a_directory_of_kafkas_after_a_clean_stop():
    disk = kafka(MemoryDisk())
    root = reopened(disk)
    assert root.was_clean
    assert not root.others_ran
    assert root.damaged == ()
    assert root.recovery_point("orders", 0) == RecoveryPoint(0, 150)  # no checksum vouches for it
    assert root.log_start("trim", 0) == 28
    assert root.log_start("orders", 0) is None
    assert root.high_watermark("orders", 0) == 150
    assert root.meta.cluster_id == "cluster"
    assert disk.calls == []


def test_a_clean_life_of_kstore():
    disk = kstore(kafka(MemoryDisk()))
    root = reopened(disk)
    assert (root.was_clean, root.others_ran, root.damaged) == (True, False, ())
    assert root.recovery_point("orders", 0) == (150, 150)
    assert root.log_start("trim", 0) == 28
    assert root.high_watermark("orders", 0) == 150
    assert root.cleaner_offset("orders", 0) == 60
    assert root.meta.node_id == 1
    assert disk.files[path(MARKER)] == b'{"version":0,"brokerEpoch":-1}'
    assert disk.files[path(RP)] == b"0\n2\norders 0 150\ntrim 0 140\n"


def test_a_crash_of_kstore():
    root = reopened(kstore(kafka(MemoryDisk()), clean=False))
    assert (root.was_clean, root.others_ran, root.damaged) == (False, False, ())
    assert root.recovery_point("orders", 0) == (150, 150)


def test_a_clean_stop_of_a_kafka_that_ran_since():
    disk = kafka(kstore(MemoryDisk()), points={ORDERS: 200, ("new", 1): 7}, starts={TRIM: 99}, broker_epoch=139)
    root = reopened(disk)
    assert (root.was_clean, root.others_ran, root.damaged) == (True, True, ())
    assert root.recovery_point("orders", 0) == (150, 200)
    assert root.recovery_point("new", 1) == (7, 7)
    assert root.log_start("trim", 0) == 99
    assert root.high_watermark("orders", 0) == 150


def test_a_kill_of_a_kafka_that_ran_since():
    disk = kafka(kstore(MemoryDisk()), points={ORDERS: 120}, starts={}, broker_epoch=None)
    root = reopened(disk)
    assert (root.was_clean, root.others_ran, root.damaged) == (False, True, ())
    assert root.recovery_point("orders", 0) == (120, 120)
    assert root.recovery_point("trim", 0) == (0, 0)
    assert root.log_start("trim", 0) is None


def test_the_metadata_log_gives_away_a_kraft_broker_after_a_crash_of_kstore():
    log = path("__cluster_metadata-0/00000000000000000000.log")
    state = path("__cluster_metadata-0/quorum-state")
    disk = kstore(MemoryDisk({log: b"abc", state: b"{}"}), clean=False)
    assert not reopened(disk).others_ran
    disk.files[log] += b"d"
    assert reopened(disk).others_ran
    disk.files[log] = b"abc"
    disk.files[path("__cluster_metadata-0/leader-epoch-checkpoint")] = b"x"
    assert not reopened(disk).others_ran
    disk.files[state] = b"{ }"
    assert reopened(disk).others_ran


def test_what_was_doubted_stays_doubted_until_it_is_written():
    disk = kafka(kstore(MemoryDisk()), points={ORDERS: 200}, broker_epoch=None)
    for _ in range(3):  # crash after crash in recovery
        root = reopened(disk)
        assert root.recovery_point("orders", 0) == (150, 200)
        root.begin()
    root.write_recovery_points({ORDERS: 180})
    assert root.recovery_point("orders", 0) == (180, 180)
    assert reopened(disk).recovery_point("orders", 0) == (180, 180)


def test_begin_takes_the_marker_away_and_touches_only_the_twin_before():
    disk = kstore(MemoryDisk())
    disk.calls.clear()
    reopened(disk).begin()
    assert disk.calls == [f"write_file_atomic {path(TWIN)}", f"unlink {path(MARKER)}", "sync_dir root"]
    assert not reopened(disk).was_clean
    assert not reopened(disk).others_ran


def test_the_marker_carries_the_epoch_of_the_brokers_registration():
    disk = kafka(MemoryDisk(), broker_epoch=12)
    root = reopened(disk)
    root.begin()
    root.finish(12)
    assert disk.files[path(MARKER)] == b'{"version":0,"brokerEpoch":12}'
    root = reopened(disk)
    assert (root.was_clean, root.others_ran) == (True, False)
    assert (reopened(kafka(disk, broker_epoch=31)).was_clean, reopened(disk).others_ran) == (True, True)


def test_a_crash_inside_begin_on_a_directory_of_kafkas_is_not_taken_for_others():
    disk = kafka(MemoryDisk(), broker_epoch=12)
    root = reopened(disk)
    disk.fail(after=1)
    with pytest.raises(OSError, match="planted"):
        root.begin()
    assert (reopened(disk).was_clean, reopened(disk).others_ran) == (True, False)


def test_a_read_only_root_cannot_begin():
    disk = kstore(MemoryDisk())
    with pytest.raises(UsageError, match="read-only"):
        RootCheckpoints.open(disk, "root", writable=False).begin()
    assert reopened(disk).was_clean


def test_equal_content_is_written_once():
    disk = kstore(MemoryDisk(), clean=False)
    root = reopened(disk)
    root.begin()
    disk.calls.clear()
    root.write_recovery_points(dict(reversed(POINTS.items())))
    root.write_log_starts({TRIM: 28})
    assert disk.calls == []
    root.write_recovery_points({**POINTS, ORDERS: 151})
    assert disk.calls == [f"write_file_atomic {path(TWIN)}", f"write_file_atomic {path(RP)}"]


def test_meta_properties():
    disk = kafka(MemoryDisk())
    root = reopened(disk)
    root.begin()
    root.write_meta(MetaProperties("other", 2, None), now_ms=0)
    assert root.meta.cluster_id == "other"
    assert reopened(disk).meta.node_id == 2
    assert reopened(disk).damaged == ()


# -- crashes between any two steps --


def steps_of_a_life():
    """Every state of the disk within a life of kstore, with what may be believed of it."""
    disk = kstore(kafka(MemoryDisk()))
    first = len(disk.calls)
    calls = len(kstore(disk, points={ORDERS: 170, TRIM: 160}, starts={TRIM: 40}).calls)
    for after in range(calls - first):
        disk = kstore(kafka(MemoryDisk()))
        disk.fail(after)
        with pytest.raises(OSError, match="planted"):
            kstore(disk, points={ORDERS: 170, TRIM: 160}, starts={TRIM: 40})
        yield disk


def test_a_crash_at_any_step_leaves_old_or_new():
    states = list(steps_of_a_life())
    assert len(states) == 11
    for disk in states:
        root = reopened(disk)
        assert root.damaged == ()
        assert root.recovery_point("orders", 0) in {(150, 150), (170, 170)}
        assert root.recovery_point("trim", 0) in {(140, 140), (160, 160)}
        assert root.log_start("trim", 0) in {28, 40}
        assert root.meta.cluster_id == "cluster"
    assert [reopened(disk).was_clean for disk in states[:3]] == [True, True, False]


def test_a_failed_write_may_be_repeated():
    for after in (0, 1):
        disk = kstore(MemoryDisk())
        root = reopened(disk)
        root.begin()
        disk.fail(after, errno.ENOSPC)
        with pytest.raises(OSError, match="planted"):
            root.write_recovery_points({ORDERS: 300})
        assert root.recovery_point("orders", 0) == (150, 150)
        assert reopened(disk).recovery_point("orders", 0) in {(150, 150), (300, 300)}
        root.write_recovery_points({ORDERS: 200})
        assert reopened(disk).recovery_point("orders", 0) == (200, 200)
        assert reopened(disk).damaged == ()


# -- damage: one flipped bit, one cut, one lost file --


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("name", [RP, STARTS, MARKS, CLEANED, TWIN, META, MARKER])
def test_no_single_damage_makes_a_log_smaller_or_a_stop_cleaner(name, clean):
    disk = kstore(kafka(MemoryDisk()), clean=clean)
    if name == MARKER and not clean:
        disk.files[path(MARKER)] = b""  # nothing was there; half a marker is no marker
    for variant, hurt in flips(disk, name):
        root = reopened(hurt)
        assert root.was_clean <= clean
        assert root.was_clean == clean or name == MARKER
        for key, offset in POINTS.items():
            point = root.recovery_point(*key)
            assert point.scan_from <= offset, variant
            assert point.durable == offset, variant
            assert root.high_watermark(*key) <= offset, variant
        assert root.log_start("trim", 0) == 28, variant
        assert root.log_start("orders", 0) is None, variant
        assert root.cleaner_offset("orders", 0) <= 60, variant
        assert root.meta.cluster_id == "cluster", variant
        assert root.meta.directory_id == bytes(range(16)), variant
        if name in (RP, STARTS, CLEANED, META) and variant:
            assert root.damaged == (name,), variant


@pytest.mark.parametrize("name", [RP, STARTS, MARKS, CLEANED, META])
def test_damage_is_healed_by_begin(name):
    disk = kstore(kafka(MemoryDisk()), clean=False)
    whole = disk.files[path(name)]
    disk.files[path(name)] = whole[:-2] + b"1\n"
    root = reopened(disk)
    assert root.damaged == (name,)
    root.begin()
    assert reopened(disk).damaged == ()
    if name != RP:  # there the smaller number stands until recovery writes its own
        assert disk.files[path(name)] == whole


@pytest.mark.parametrize("broker_epoch", [139, None])
@pytest.mark.parametrize("name", [RP, STARTS, MARKS, CLEANED, TWIN, META])
def test_damage_after_a_kafka_ran_never_raises_a_recovery_point_above_kstores(name, broker_epoch):
    disk = kafka(kstore(kafka(MemoryDisk())), points={ORDERS: 200, TRIM: 140}, broker_epoch=broker_epoch)
    for variant, hurt in flips(disk, name):
        root = reopened(hurt)
        assert root.was_clean == (broker_epoch is not None)
        for key, offset in POINTS.items():
            assert root.recovery_point(*key).scan_from <= offset, variant
        if name != STARTS:
            assert root.log_start("trim", 0) == 28, variant


def test_an_unreadable_file_without_a_twin():
    disk = kafka(MemoryDisk())
    for name in (RP, STARTS, MARKS, CLEANED, META, MARKER):
        disk.files[path(name)] = b"\0" * 20
    root = reopened(disk)
    assert set(root.damaged) == {RP, STARTS, MARKS, CLEANED, META, MARKER}
    assert not root.was_clean
    assert root.recovery_point("orders", 0) == (0, 0)
    assert root.log_start("trim", 0) is None
    assert root.meta is None
    root.begin()
    assert disk.files[path(RP)] == b"0\n0\n"
    assert disk.files[path(META)] == b"\0" * 20
    assert reopened(disk).damaged == (META,)


def test_an_unreadable_file_after_a_kafka_ran():
    disk = kafka(kstore(kafka(MemoryDisk())), points={ORDERS: 200}, broker_epoch=139)
    for name in (RP, STARTS, MARKS, META):
        disk.files[path(name)] = b"?"
    root = reopened(disk)
    assert root.recovery_point("orders", 0) == (0, 0)
    assert root.log_start("trim", 0) == 28
    assert root.high_watermark("orders", 0) == 150
    assert root.meta.cluster_id == "cluster"


def test_a_changed_meta_is_believed_after_a_kafka_ran():
    disk = kafka(kstore(kafka(MemoryDisk())))
    disk.files[path(META)] = META_BYTES.replace(b"=cluster", b"=another")
    root = reopened(disk)
    assert root.others_ran
    assert root.damaged == ()
    assert root.meta.cluster_id == "another"


# -- a partition --

TOPIC_ID = bytes(range(1, 17))
EPOCHS = ((0, 0), (3, 150))


def partition(disk=None):
    disk = disk or MemoryDisk()
    files = PartitionFiles.open(disk, "root")
    files.write_topic_id(TOPIC_ID)
    files.write_epochs(LeaderEpochs([(0, 0)]))
    files.write_epochs(LeaderEpochs(EPOCHS))
    return disk


def reopened_partition(disk):
    return PartitionFiles.open(disk, "root")


def test_a_new_partition():
    disk = MemoryDisk()
    files = reopened_partition(disk)
    assert (files.topic_id, files.epochs_trusted, files.damaged) == (None, False, ())
    assert not files.epochs
    files.heal()
    assert disk.calls == []


def test_a_partition_of_kstores():
    disk = partition()
    files = reopened_partition(disk)
    assert files.topic_id == TOPIC_ID
    assert files.epochs.entries == EPOCHS
    assert files.epochs_trusted
    assert files.damaged == ()
    assert disk.files[path(names.EPOCHS_FILE)] == b"0\n2\n0 0\n3 150\n"
    disk.calls.clear()
    files.heal()
    assert disk.calls == []


def test_a_partition_of_kafkas_is_to_be_checked():
    disk = partition()
    del disk.files[path(names.PARTITION_TWIN_FILE)]
    files = reopened_partition(disk)
    assert files.topic_id == TOPIC_ID
    assert files.epochs.entries == EPOCHS
    assert not files.epochs_trusted
    files.write_epochs(files.epochs)
    assert files.epochs_trusted
    assert reopened_partition(disk).epochs_trusted


def test_what_file_and_twin_say_already_is_not_written_again():
    disk = partition()
    files = reopened_partition(disk)
    disk.calls.clear()
    files.write_epochs(LeaderEpochs(EPOCHS))
    files.write_topic_id(TOPIC_ID)
    assert disk.calls == []
    files.write_epochs(LeaderEpochs([(0, 0)]))
    assert disk.files[path(names.EPOCHS_FILE)] == b"0\n1\n0 0\n"


def test_a_log_without_epochs_is_given_no_file_to_say_so():
    disk = MemoryDisk()
    files = reopened_partition(disk)
    files.write_epochs(LeaderEpochs())
    assert disk.calls == []
    partition(disk)
    reopened_partition(disk).write_epochs(LeaderEpochs())
    assert disk.files[path(names.EPOCHS_FILE)] == b"0\n0\n"


def test_epochs_that_kafka_wrote_since_are_to_be_checked():
    disk = partition()
    disk.files[path(names.EPOCHS_FILE)] = b"0\n3\n0 0\n3 150\n4 170\n"
    files = reopened_partition(disk)
    assert files.epochs.latest == (4, 170)
    assert not files.epochs_trusted
    assert files.damaged == ()


def test_a_crash_between_twin_and_file_is_explained():
    disk = partition()
    disk.fail(1)
    with pytest.raises(OSError, match="planted"):
        reopened_partition(disk).write_epochs(LeaderEpochs([*EPOCHS, (4, 170)]))
    files = reopened_partition(disk)
    assert files.epochs_trusted
    assert files.epochs.entries == EPOCHS, "nothing was appended in an epoch whose note failed"


@pytest.mark.parametrize("name", [names.EPOCHS_FILE, names.PARTITION_METADATA_FILE, names.PARTITION_TWIN_FILE])
def test_no_single_damage_of_a_partition_is_believed(name):
    disk = partition()
    for variant, hurt in flips(disk, name):
        files = reopened_partition(hurt)
        assert files.topic_id == TOPIC_ID, variant
        assert files.epochs.entries == EPOCHS or not files.epochs_trusted, variant
        if name == names.PARTITION_METADATA_FILE:
            assert files.damaged == (name,)
            files.heal()
            assert hurt.files[path(name)] == disk.files[path(name)]
            assert reopened_partition(hurt).damaged == ()


def test_unreadable_epochs_fall_back_to_the_twin():
    disk = partition()
    disk.files[path(names.EPOCHS_FILE)] = b"0\n2\n0 0\n"
    files = reopened_partition(disk)
    assert files.damaged == (names.EPOCHS_FILE,)
    assert files.epochs.entries == EPOCHS
    assert not files.epochs_trusted
