"""Opening a log: what a clean stop saves, what a crash may cut, what is put aside and never cut."""

from __future__ import annotations

import os

import pytest

import kstore
from kstore._native import batch as native
from kstore.log import names
from kstore.log.disk import OsDisk
from kstore.testing.simdisk import SimDisk
from support.stores import (
    NOW_MS,
    count_calls,
    flip_byte,
    kill,
    new_partition,
    open_store,
    readable,
    values,
)  # fmt: skip

DIR = "/data/t-0"
LOG = f"{DIR}/{names.log_name(0)}"


def filled(disk=None, *, batches=6, durable=False, **config):
    """A killed store's disk: batches of two records each, ~180 bytes, two to a segment of 400 bytes."""
    disk = disk or SimDisk()
    store, partition = new_partition(disk, **({"internal_segment_bytes": 400} | config))
    for i in range(batches):
        partition.append([b"%d" % i * 50, b"%d+" % i * 25], timestamp_ms=NOW_MS + i)
    if durable:
        store.flush()
    return disk, store


def expected(batches):
    return [v for i in range(batches) for v in (b"%d" % i * 50, b"%d+" % i * 25)]


def corrupt_files(disk):
    return {name: disk.read_file(f"{DIR}/{name}") for name in disk.list(DIR) if name.endswith(".corrupt")}


# -- a clean stop -------------------------------------------------------------------------------------------------


def test_a_clean_open_reads_no_body_of_a_sealed_segment():
    disk, store = filled(batches=20)
    store.close()
    opened = count_calls(disk)
    with open_store(disk, read_only=False) as store:
        partition = store.partition("t", 0)
        count = len(partition.segments)
        logs = {path for kind, path in opened if kind in ("open", "map", "read") and path.endswith(".log")}
        assert count > 9
        assert logs <= {partition.segments[-1].path}


def test_a_clean_open_changes_nothing_but_the_marker():
    disk, store = filled()
    store.close()
    before = {path: data for path, data in disk.files().items() if path.startswith(DIR)}
    store = open_store(disk)
    store.partition("t", 0)
    assert {path: data for path, data in disk.files().items() if path.startswith(DIR)} == before
    assert not disk.exists(f"/data/{names.CLEAN_SHUTDOWN_FILE}")
    store.close()


# -- torn tails (S1, S2, S5) --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(0, 350, 7))
def test_a_log_torn_at_any_byte_keeps_every_whole_batch_and_the_rest_beside_it(size):
    disk, store = filled(batches=2)
    kill(store)
    whole = disk.read_file(LOG)
    disk.open_file(LOG).truncate(size)
    batch_ends = [h.position + h.size_bytes for h in native.headers(whole)]
    kept = sum(end <= size for end in batch_ends)
    end = ([0, *batch_ends])[kept]
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert values(partition) == expected(kept)
        assert partition.append([b"next"]).base_offset == 2 * kept
    torn = whole[end:size]
    assert corrupt_files(disk) == ({f"{names.log_name(0)}.{end}.corrupt": torn} if torn.strip(b"\0") else {})


@pytest.mark.parametrize("zeros", [1, 61, 4096])
def test_zeros_are_the_end_of_a_log_and_never_a_batch(zeros):
    disk, store = filled(batches=2)
    kill(store)
    disk.open_file(LOG).write_at(bytes(zeros), disk.size(LOG))
    size = disk.size(LOG)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert values(partition) == expected(2)
        assert partition.offset_for_timestamp(0) == (0, NOW_MS)
        assert disk.size(LOG) == size - zeros
    assert corrupt_files(disk) == {}


def test_a_batch_that_fails_its_checksum_ends_a_log_above_the_recovery_point():
    disk, store = filled(batches=2)
    kill(store)
    second = next(h for h in native.headers(disk.read_file(LOG)) if h.base_offset == 2)
    flip_byte(disk, LOG, second.position + second.size_bytes - 5)
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == expected(1)
        assert store.partition("t", 0).log_end_offset == 2
    assert [len(data) for data in corrupt_files(disk).values()] == [second.size_bytes]


def test_recovering_twice_is_recovering_once():
    disk, store = filled(batches=5)
    kill(store)
    disk.open_file(f"{DIR}/{names.log_name(8)}").write_at(b"torn bytes", disk.size(f"{DIR}/{names.log_name(8)}"))
    kill(open_store(disk))
    once = {path: data for path, data in disk.files().items() if path.startswith(DIR)}
    kill(open_store(disk))
    assert {path: data for path, data in disk.files().items() if path.startswith(DIR)} == once


# -- damage below the recovery point (S6, S11) --------------------------------------------------------------------


def test_damage_below_the_recovery_point_is_never_cut():
    disk, store = filled(batches=4, durable=True)
    kill(store)
    second = next(h for h in native.headers(disk.read_file(LOG)) if h.base_offset == 2)
    flip_byte(disk, LOG, second.position + second.size_bytes - 5)
    size = disk.size(LOG)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        with pytest.raises(kstore.CorruptionError) as caught:
            list(partition.read(2))
        damage = caught.value
        assert (damage.file, damage.offset, damage.next_offset) == (LOG, 2, 4)
        assert readable(partition) == {i: v for i, v in enumerate(expected(4)) if i not in (2, 3)}
        assert partition.append([b"on"]).base_offset == 8
        assert disk.size(LOG) == size
    assert corrupt_files(disk) == {}


def test_damage_above_the_recovery_point_ends_the_log_there_and_keeps_every_byte():
    """What was never synced may have lost pages: only a prefix of it is certain, the rest is set aside (S5)."""
    disk, store = filled(batches=6)
    kill(store)
    second = next(h for h in native.headers(disk.read_file(LOG)) if h.base_offset == 2)
    flip_byte(disk, LOG, second.position + second.size_bytes - 5)
    before = {name: disk.read_file(f"{DIR}/{name}") for name in disk.list(DIR) if name.endswith(".log")}
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert partition.log_end_offset == 2
        assert readable(partition) == dict(enumerate(expected(1)))
    kept = {name: disk.read_file(f"{DIR}/{name}") for name in disk.list(DIR) if ".corrupt" in name}
    assert before.pop(LOG.rpartition("/")[2])[second.position :] in kept.values()
    assert before
    assert set(before.values()) <= set(kept.values())


def test_damage_of_the_last_segment_below_the_recovery_point_is_kept_too():
    disk, store = filled(batches=3, durable=True)
    kill(store)
    path = f"{DIR}/{names.log_name(4)}"
    flip_byte(disk, path, 80)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert partition.log_end_offset == 6
        assert readable(partition) == dict(enumerate(expected(2)))
        with pytest.raises(kstore.CorruptionError):
            list(partition.read(4))
        assert partition.append([b"on"]).base_offset == 6


@pytest.mark.parametrize("stop", ["close", "kill"])
@pytest.mark.parametrize("base", [0, 4, 8])
def test_a_damaged_header_and_no_snapshot_of_producers_cost_one_batch(base, stop):
    disk, store = filled(batches=6, durable=True)
    store.close() if stop == "close" else kill(store)
    flip_byte(disk, f"{DIR}/{names.log_name(base)}", 9)
    for name in disk.list(DIR):
        if name.endswith(".snapshot"):
            disk.unlink(f"{DIR}/{name}")
    for _ in range(2):
        with open_store(disk) as store:
            partition = store.partition("t", 0)
            assert readable(partition) == {i: v for i, v in enumerate(expected(6)) if i not in (base, base + 1)}
            assert partition.log_end_offset == 12


def test_quarantine_outlives_a_clean_stop():
    disk, store = filled(batches=4, durable=True)
    kill(store)
    flip_byte(disk, LOG, 100)
    open_store(disk).close()
    with open_store(disk) as store, pytest.raises(kstore.CorruptionError) as caught:
        list(store.partition("t", 0).read(0))
    assert caught.value.next_offset == 2


def test_damage_that_comes_after_a_clean_open_is_met_by_the_read_and_put_aside():
    disk, store = filled(batches=4)
    store.close()
    second = next(h for h in native.headers(disk.read_file(LOG)) if h.base_offset == 2)
    flip_byte(disk, LOG, second.position + 4)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert readable(partition) == {i: v for i, v in enumerate(expected(4)) if i not in (2, 3)}


def test_a_missing_middle_segment_costs_its_offsets_alone_and_renumbers_nothing():
    disk, store = filled(batches=6)
    store.flush()
    kill(store)
    for kind in ("log", "index", "timeindex"):
        disk.unlink(f"{DIR}/{names.file_name(4, kind)}")
    for _ in range(2):
        with open_store(disk) as store:
            partition = store.partition("t", 0)
            assert (partition.log_start_offset, partition.log_end_offset) == (0, 12)
            assert readable(partition) == {i: v for i, v in enumerate(expected(6)) if not 4 <= i < 8}
    assert [f.kind for f in kstore.verify("/data", disk=disk).findings if f.kind == "gap"] == ["gap"]


def test_a_torn_middle_segment_costs_its_own_tail_alone():
    disk, store = filled(batches=6)
    store.flush()
    kill(store)
    path = f"{DIR}/{names.log_name(4)}"
    disk.open_file(path).truncate(disk.size(path) - 3)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert partition.log_end_offset == 12
        assert readable(partition) == {i: v for i, v in enumerate(expected(6)) if not 6 <= i < 8}


# -- what can be derived (S3, S4, S8, S9, S10) --------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["close", "kill"])
@pytest.mark.parametrize("harm", ["gone", "empty", "nonsense", "zeros behind", "cut", "old"])
@pytest.mark.parametrize("kind", ["index", "timeindex"])
def test_a_broken_index_is_made_anew_and_no_reader_notices(kind, harm, stop):
    disk, store = filled(batches=6, index_interval_bytes=0)
    store.close() if stop == "close" else kill(store)
    for base in (0, 4, 8):
        path = f"{DIR}/{names.file_name(base, kind)}"
        data = disk.read_file(path)
        entry = 8 if kind == "index" else 12
        harmed = {
            "empty": b"", "nonsense": b"\x7f" * 3 * entry, "zeros behind": data + bytes(10 * entry),
            "cut": data[:-1], "old": data[:entry],
        }.get(harm)  # fmt: skip
        disk.unlink(path)
        if harmed is not None:
            disk.write_file(path, harmed)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert values(partition) == expected(6)
        for i in range(6):
            assert partition.offset_for_timestamp(NOW_MS + i) == (2 * i, NOW_MS + i)
            assert next(partition.read(2 * i + 1).records(from_offset=2 * i + 1)).value == b"%d+" % i * 25
        assert partition.offset_for_timestamp(NOW_MS + 6) is None


def idempotent(partition, sequence):
    return partition.append_batches(
        kstore.encode_batches([b"v"], timestamp_ms=NOW_MS, producer_id=3, producer_epoch=0, base_sequence=sequence)
    )


@pytest.mark.parametrize("harm", ["gone", "flipped"])
def test_a_broken_producer_snapshot_costs_no_duplicate(harm):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=200)
    for sequence in range(5):
        idempotent(partition, sequence)
    store.close()
    for name in disk.list(DIR):
        if name.endswith(".snapshot"):
            disk.unlink(f"{DIR}/{name}") if harm == "gone" else flip_byte(disk, f"{DIR}/{name}", 12)
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        assert [idempotent(partition, sequence).duplicate for sequence in range(5)] == [True] * 5
        assert not idempotent(partition, 5).duplicate


@pytest.mark.parametrize("stop", ["close", "kill"])
def test_a_lost_leader_epoch_file_is_found_again_in_the_batches(stop):
    disk = SimDisk()
    store, partition = new_partition(disk)
    for epoch in (0, 0, 3, 5):
        partition.log.leader_epoch = epoch
        partition.append([b"v"])
    entries = partition.log.derived.epochs.entries
    store.close() if stop == "close" else kill(store)
    disk.unlink(f"{DIR}/{names.EPOCHS_FILE}")
    disk.unlink(f"{DIR}/{names.PARTITION_TWIN_FILE}")
    with open_store(disk) as store:
        assert store.partition("t", 0).log.derived.epochs.entries == entries


def test_a_damaged_topic_id_is_written_anew():
    disk, store = filled()
    store.close()
    path = f"{DIR}/{names.PARTITION_METADATA_FILE}"
    whole = disk.read_file(path)
    flip_byte(disk, path, len(whole) - 2)
    with open_store(disk) as store:
        store.partition("t", 0)
    assert disk.read_file(path) == whole


def test_epochs_that_all_lie_at_the_end_are_gone_after_one_recovery_and_after_two():
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=400)
    for i in range(6):
        partition.append([b"%d" % i * 50] * 2, timestamp_ms=NOW_MS)
    partition.delete_records(partition.log_end_offset)  # the last segment stays: its batches are below the start
    kill(store)
    after = []
    for _ in range(3):
        store = open_store(disk)
        assert store.partition("t", 0).log.derived.epochs.entries == ()
        kill(store)
        after.append(disk.files())
    assert after[0] == after[1] == after[2]


@pytest.mark.parametrize("stop", ["close", "kill"])
@pytest.mark.parametrize("harm", ["gone", "flipped"])
def test_a_lost_abort_index_is_found_again_in_the_batches(harm, stop):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=250)
    sent = kstore.encode_batches(
        [b"aborted"], timestamp_ms=NOW_MS, producer_id=3, producer_epoch=0, base_sequence=0, transactional=True
    )
    partition.append_batches(sent)
    partition.end_transaction(3, 0, commit=False)
    partition.append([b"x" * 150])
    partition.append([b"y" * 150])
    store.close() if stop == "close" else kill(store)
    indexes = [name for name in disk.list(DIR) if name.endswith(".txnindex")]
    assert indexes
    for name in indexes:
        disk.unlink(f"{DIR}/{name}") if harm == "gone" else flip_byte(disk, f"{DIR}/{name}", 9)
    with open_store(disk) as store:
        assert values(store.partition("t", 0), isolation="read_committed") == [b"x" * 150, b"y" * 150]


def test_indexes_without_a_log_are_removed_and_strangers_are_not():
    disk, store = filled(batches=2)
    store.close()
    for name in ("00000000000000000099.index", "00000000000000000099.timeindex", "notes.txt"):
        disk.write_file(f"{DIR}/{name}", b"12345678")
    with open_store(disk) as store:
        store.partition("t", 0)
    assert [name for name in disk.list(DIR) if "99" in name or name == "notes.txt"] == ["notes.txt"]


# -- the clean marker ---------------------------------------------------------------------------------------------


def test_a_store_that_was_killed_is_recovered_though_an_earlier_stop_was_clean():
    disk, store = filled(batches=2)
    store.close()
    store = open_store(disk)
    store.partition("t", 0).append([b"torn" * 20])
    kill(store)
    disk.open_file(f"{DIR}/{names.log_name(4)}").truncate(80)
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == expected(2)
        assert store.partition("t", 0).append([b"next"]).base_offset == 4


# -- read-only ----------------------------------------------------------------------------------------------------


def tree(path):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("state", ["clean", "running", "torn"])
def test_a_read_only_open_changes_no_byte(tmp_path, state):
    store = kstore.open(tmp_path / "d", config={"log.flush.scheduler.interval.ms": 0})
    store.create_topic("t", config={"internal.segment.bytes": 400})
    for i in range(6):
        store.partition("t", 0).append([b"%d" % i * 50, b"%d+" % i * 25], timestamp_ms=NOW_MS + i)
    last = store.partition("t", 0).segments[-1].path
    if state != "running":
        store.close() if state == "clean" else kill(store)
    if state == "torn":
        with open(last, "ab") as file:
            file.write(b"torn bytes")
    before = tree(tmp_path)
    with kstore.open(tmp_path / "d", read_only=True) as other:
        assert values(other.partition("t", 0)) == expected(6)
        assert other.partition("t", 0).offset_for_timestamp(NOW_MS + 3) == (6, NOW_MS + 3)
        assert other.partition("t", 0).refresh() == 12
    assert tree(tmp_path) == before
    store.close()


def test_a_read_only_store_beside_a_writer_takes_in_what_comes():
    disk = SimDisk()
    writer, partition = new_partition(disk, internal_segment_bytes=400)
    partition.append([b"a"])
    reader = open_store(disk, read_only=True)
    other = reader.partition("t", 0)
    assert values(other) == [b"a"]
    for i in range(8):
        partition.append([b"%d" % i * 100])
        assert other.log_end_offset == 1 + i
        assert other.refresh() == 2 + i
        assert values(other) == values(partition)
    partition.delete_records(4)
    other.refresh()
    assert values(other, 5) == values(partition, 5)
    writer.create_topic("later")
    writer.partition("later", 0).append([b"z"])
    assert values(reader.partition("later", 0)) == [b"z"]
    writer.close()
    reader.close()


def test_a_read_only_store_shows_transactions_as_they_end():
    disk = SimDisk()
    writer, partition = new_partition(disk)
    reader = open_store(disk, read_only=True)
    other = reader.partition("t", 0)
    for producer, commit in ((1, True), (2, False)):
        partition.append_batches(
            kstore.encode_batches(
                [b"%d" % producer], timestamp_ms=NOW_MS, producer_id=producer, producer_epoch=0, base_sequence=0,
                transactional=True,
            )
        )  # fmt: skip
        other.refresh()
        assert other.last_stable_offset == partition.last_stable_offset
        partition.end_transaction(producer, 0, commit=commit)
        other.refresh()
    assert values(other, isolation="read_committed") == [b"1"]
    writer.close()
    reader.close()


# -- size ---------------------------------------------------------------------------------------------------------


class CountingDisk(OsDisk):
    def __init__(self):
        self.opened = []

    def open_file(self, path, *, create=False, writable=True):
        self.opened.append(path)
        return super().open_file(path, create=create, writable=writable)


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_segments_open_without_a_look_into_each(tmp_path, count):
    root, step, links = tmp_path / "d", 10, 30_000
    last = (count - 1) * step
    with kstore.open(root) as store:
        store.create_topic("t", config={"cleanup.policy": "compact"})  # which may leave holes
    directory = root / "t-0"
    for path in directory.glob("0*"):
        path.rename(directory / path.name.replace("0" * 20, f"{last:020d}"))
    with kstore.open(root) as store:
        assert store.partition("t", 0).append([b"v"]).base_offset == last
    for i in range(count - 1):
        path = directory / names.log_name(i * step)
        if i % links:
            path.hardlink_to(directory / names.log_name(i // links * links * step))
        else:
            path.write_bytes(b"")
    disk = CountingDisk()
    before = len(os.listdir("/proc/self/fd"))
    with open_store(disk, root=str(root)) as store:
        partition = store.partition("t", 0)
        assert (len(partition.segments), partition.log_end_offset) == (count, last + 1)
        assert len(disk.opened) < 60
        assert [r.value for r in partition.read(last)] == [b"v"]
        assert [r.value for r in partition.read(0)] == [b"v"]
        assert len(os.listdir("/proc/self/fd")) < before + 20
