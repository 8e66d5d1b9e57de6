"""What kstore's sidecars are worth once somebody else may have been here: no legal directory is called damaged."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore.graduation import graduate
from kstore.inspect import repair
from kstore.log import names
from kstore.log.seals import read_seals
from kstore.log.special import append_as_follower
from kstore.store.catalog import FILE_NAME
from kstore.store.trust import Trust
from kstore.testing.simdisk import SimDisk
from support import other_kafka
from support.damage import DIR, damaged, directory
from support.stores import flip_byte, kill, open_store, power_off, readable

SMALL = {"internal.segment.bytes": 400, "index.interval.bytes": 0}


def made_here(disk=None, batches=9, **config):
    """A closed directory of one-record batches in several segments, and its records by offset."""
    disk = disk or SimDisk()
    with open_store(disk) as store:
        store.create_topic("t", config=SMALL | config)
        log = store.partition("t", 0)
        expected = {log.append([b"%d" % i * 99]).base_offset: b"%d" % i * 99 for i in range(batches)}
    return disk, expected


def is_dense(disk):
    return Trust.read(disk, "/data").dense_id("t", 0) is not None


def assert_in_order(disk, expected):
    """Every way to look at the directory finds nothing wrong and all that is there."""
    assert kstore.verify("/data", disk=disk).findings == []
    assert kstore.verify(DIR, disk=disk).findings == []
    with open_store(disk, read_only=True) as store:
        assert readable(store.partition("t", 0)) == expected
    before = {p: d for p, d in disk.files().items() if not p.endswith((".lock", "kstore-holder"))}
    assert repair("/data", disk=disk) == []
    assert {p: d for p, d in disk.files().items() if not p.endswith((".lock", "kstore-holder"))} == before
    for _ in range(2):  # the second open sees what the first one left
        with open_store(disk) as store:
            assert readable(store.partition("t", 0)) == expected
        assert kstore.verify("/data", disk=disk).findings == []
    assert not [name for name in disk.list(DIR) if name.endswith(".corrupt") or name == names.QUARANTINE_FILE]


def test_a_topic_that_was_made_here_and_never_compacted_is_dense():
    disk, expected = made_here()
    assert is_dense(disk)
    assert_in_order(disk, expected)
    assert is_dense(disk)


@pytest.mark.parametrize("config", [{"cleanup.policy": "compact"}, {"cleanup.policy": "compact,delete"}])
def test_a_topic_made_to_be_compacted_is_not(config):
    assert not is_dense(made_here(**config)[0])


def test_a_policy_that_once_was_compact_is_not_forgotten():
    disk, _ = made_here()
    with open_store(disk) as store:
        log = store.partition("t", 0)
        store.alter_topic("t", {"cleanup.policy": "compact"})
        assert not is_dense(disk)
        assert not log.segments[0].dense
        store.alter_topic("t", {"cleanup.policy": "delete"})
    assert not is_dense(disk)


def test_a_directory_whose_default_is_compact_is_not_dense():
    disk = SimDisk()
    with open_store(disk, config={"log.cleanup.policy": "compact"}) as store:
        store.create_topic("t")
    assert not is_dense(disk)


def test_a_default_of_compact_makes_no_topic_dense():
    disk, _ = made_here()
    with open_store(disk, config={"log.cleanup.policy": "compact"}) as store:
        assert not store.partition("t", 0).segments[0].dense


def test_a_policy_is_remembered_without_a_log_at_hand():
    disk, _ = made_here()
    with open_store(disk) as store:
        store.alter_topic("t", {"cleanup.policy": "compact"})
        store.alter_topic("t", {"cleanup.policy": "delete"})
    assert not is_dense(disk)


def test_changing_a_config_of_kafkas_topic_does_not_make_it_dense():
    disk, _ = made_here()
    disk.unlink(f"/data/{FILE_NAME}")
    with open_store(disk) as store:
        store.alter_topic("t", {"retention.ms": 5})
    assert not is_dense(disk)


@pytest.mark.parametrize("how", ["clean", "killed"])
@pytest.mark.parametrize("empty", [False, True])
def test_what_a_kafka_compacted_in_between_is_in_order(how, empty):
    disk, expected = made_here()
    other_kafka.compact(disk, DIR, lambda offset: offset % 3, empty=empty)
    other_kafka.leave(disk, how=how)
    last = max(int(name.removesuffix(".log")) for name in disk.list(DIR) if name.endswith(".log"))
    assert_in_order(disk, {o: v for o, v in expected.items() if o % 3 or o >= last})
    assert not is_dense(disk)


def test_holes_of_a_kafka_that_nobody_noticed_are_told_by_its_cleaner_checkpoint():
    disk, expected = made_here()
    with open_store(disk) as store:
        kill(store)
    other_kafka.compact(disk, DIR, lambda offset: offset != 4)
    disk.write_file_atomic(f"/data/{names.CLEANER_OFFSETS_FILE}", b"0\n1\nt 0 6\n")
    assert not is_dense(disk)
    assert_in_order(disk, {o: v for o, v in expected.items() if o != 4})


def test_a_lost_page_is_still_seen_where_nobody_else_was():
    disk, _ = made_here()
    other_kafka.compact(disk, DIR, lambda offset: offset != 4)
    (finding,) = [f for f in kstore.verify("/data", disk=disk).findings if f.kind in ("gap", "batch")]
    assert finding.first_offset == 4


def test_holes_where_kafka_knows_the_topic_are_in_order():
    disk, expected = made_here()
    graduate("/data", "/kafka", disk=disk)
    disk.write_file("/data/bootstrap.checkpoint", disk.read_file("/kafka/bootstrap.checkpoint"))
    open_store(disk).close()
    assert not is_dense(disk)
    disk.unlink(f"{DIR}/{names.SEALS_FILE}")
    other_kafka.compact(disk, DIR, lambda offset: offset != 4)
    assert_in_order(disk, {o: v for o, v in expected.items() if o != 4})


def test_another_topics_directory_under_the_same_name_is_not_dense():
    disk, expected = made_here()
    other_kafka.compact(disk, DIR, lambda offset: offset != 4)
    disk.write_file(f"{DIR}/{names.PARTITION_METADATA_FILE}", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABQ")
    disk.unlink(f"{DIR}/{names.PARTITION_TWIN_FILE}")
    disk.unlink(f"{DIR}/{names.SEALS_FILE}")
    assert kstore.verify("/data", disk=disk).findings == []
    with open_store(disk) as store:
        assert readable(store.partition("t", 0)) == {o: v for o, v in expected.items() if o != 4}


def test_a_partition_is_verified_by_a_relative_path(tmp_path, monkeypatch):
    with kstore.open(tmp_path / "d") as store:
        store.create_topic("t", config=SMALL)
        for i in range(9):
            store.partition("t", 0).append([b"%d" % i * 99])
    sealed = sorted((tmp_path / "d" / "t-0").glob("*.log"))[1]
    for path in sealed.parent.glob(f"{sealed.stem}.*"):
        path.unlink()
    for where, path in [("d", "t-0"), ("d/t-0", "../t-0"), ("", "d/t-0")]:
        monkeypatch.chdir(tmp_path / where)
        assert [f.kind for f in kstore.verify(path).findings] == ["gap"]


# -- a follower has the holes of its leader ---------------------------------------------------------------------------


def follow(log, offset, value=b"v"):
    append_as_follower(log.log, kstore.encode_batches([value], base_offset=offset, leader_epoch=0))


def test_a_follower_of_a_compacted_leader_is_in_order():
    disk, expected = made_here()
    with open_store(disk) as store:
        log = store.partition("t", 0)
        follow(log, 9)
        assert is_dense(disk)
        follow(log, 12)
        assert not is_dense(disk)
        follow(log, 20)
        expected |= {9: b"v", 12: b"v", 20: b"v"}
        assert readable(log) == expected
    assert_in_order(disk, expected)


def test_the_hole_is_known_before_it_is_there_whatever_a_crash_leaves():
    disk = SimDisk(medium=True)
    made_here(disk)
    store = open_store(disk)
    log = store.partition("t", 0)
    follow(log, 12)
    log.flush()
    after = power_off(disk)
    kill(store)
    assert not is_dense(after)
    with open_store(after) as store:
        assert store.partition("t", 0).log_end_offset == 13
    assert kstore.verify("/data", disk=after).findings == []


def test_a_hole_that_cannot_be_made_known_is_not_stored():
    disk, _ = made_here()
    with open_store(disk) as store:
        log = store.partition("t", 0)
        disk.faults.plant(errno.ENOSPC, kinds=("write",), path_ends=(FILE_NAME, f"{FILE_NAME}.tmp"))
        with pytest.raises(kstore.StorageError):
            follow(log, 12)
        assert log.log_end_offset == 9
        follow(log, 12)
    assert not is_dense(disk)


@pytest.mark.parametrize("first", ["opened", "loaded"])
def test_a_reader_beside_the_writer_takes_its_first_hole_for_one(first):
    disk, expected = made_here()
    with open_store(disk) as store, open_store(disk, read_only=True) as beside:
        log = store.partition("t", 0)
        if first == "loaded":
            beside.partition("t", 0)
        for offset in (12, 20, 31):
            follow(log, offset, b"x" * 99)
            expected[offset] = b"x" * 99
        reader = beside.partition("t", 0)
        if first == "loaded":
            reader.refresh()
        assert readable(reader) == expected


# -- sidecars that speak of positions ---------------------------------------------------------------------------------


def test_a_quarantine_does_not_outlive_the_bytes_it_spoke_of():
    disk, path, lost = damaged("base offset")
    with open_store(disk) as store:
        assert set(lost).isdisjoint(readable(store.partition("t", 0)))
    assert disk.exists(f"{DIR}/{names.QUARANTINE_FILE}")
    whole, expected = directory()
    other_kafka.replace_segment(disk, DIR, path.rpartition("/")[2], whole.read_file(path))  # refetched from a leader
    other_kafka.leave(disk, how="clean")
    assert_in_order(disk, expected)


def test_a_quarantine_of_ones_own_stays_when_a_kafkas_directory_graduates():
    disk, _, _ = damaged("base offset")
    other_kafka.leave(disk, how="clean")
    with open_store(disk) as store:
        readable(store.partition("t", 0))
    with pytest.raises(kstore.CorruptionError, match="does not graduate"):
        graduate("/data", "/kafka", disk=disk)


def test_seals_hold_as_long_as_nobody_else_was_here():
    disk, _ = made_here()
    flip_byte(disk, f"{DIR}/{names.log_name(0)}", 15)  # the leader epoch, outside every checksum
    assert kstore.verify("/data", disk=disk).findings != []


def restarted(disk):
    """A sealed segment that lived through a restart: its index is not the one that a rebuild makes."""
    with open_store(disk) as store:
        store.create_topic("t", config={"internal.segment.bytes": 1000, "index.interval.bytes": 200})
    for start in range(0, 12, 3):
        store = open_store(disk)
        for i in range(start, start + 3):
            store.partition("t", 0).append([b"%d" % i * 99])
        store.flush()
        kill(store)
    open_store(disk).close()
    assert 0 in read_seals(disk, DIR)
    path = f"{DIR}/{names.index_name(0)}"
    before = disk.read_file(path)
    disk.unlink(path)
    return path, before


def test_an_index_that_was_made_anew_is_not_told_from_the_one_that_was_sealed():
    disk = SimDisk()
    path, before = restarted(disk)
    with open_store(disk) as store:
        store.partition("t", 0).read(2)
    assert disk.read_file(path) != before
    assert kstore.verify("/data", disk=disk).findings == []


def test_what_recovery_indexes_anew_is_sealed_anew():
    disk = SimDisk()
    path, before = restarted(disk)
    kill(open_store(disk))
    for file in names.TAIL_FILES:
        if disk.exists(f"{DIR}/{file}"):
            disk.unlink(f"{DIR}/{file}")
    disk.write_file_atomic(f"/data/{names.RECOVERY_POINTS_FILE}", b"0\n0\n")
    open_store(disk).close()
    assert disk.read_file(path) != before
    assert kstore.verify("/data", disk=disk).findings == []


def test_the_snapshots_of_flushed_rolls_outlive_a_power_loss():
    disk = SimDisk(medium=True)
    made_here(disk)
    store = open_store(disk)
    for i in range(9):
        store.partition("t", 0).append([b"%d" % i * 99])
    store.flush()
    after = power_off(disk)
    kill(store)
    snapshots = [name for name in after.list(DIR) if name.endswith(".snapshot")]
    assert len(snapshots) > 4
    assert all(after.size(f"{DIR}/{name}") for name in snapshots)


@pytest.mark.parametrize("harm", ["batch", "lost segment", "snapshot"])
def test_a_repair_does_not_look_like_somebody_else(harm):
    disk, _, _ = damaged(harm)
    assert repair("/data", disk=disk)
    assert is_dense(disk)
