"""A segment from creation to removal: what appends write, what the indexes hold, what failures leave behind."""

from __future__ import annotations

import errno
import os
import random
import threading

import crc32c
import numpy as np
import pytest

import kstore._native.batch as native
from kstore._native.segment import OpenSegments, Segment
from kstore.errors import UsageError
from kstore.log.disk import OsDisk
from support.failing_disk import FailingDisk
from support.segment_model import SegmentModel, check_lookups, encode


def files(segment):
    """The bytes of the log and of both index files."""
    stem = segment.path.removesuffix("log")
    return tuple(OsDisk().read_file(stem + kind) for kind in ("log", "index", "timeindex"))


def stored(directory, base_offset=0, **options):
    return Segment(OsDisk(), str(directory), base_offset, **{"writable": True, **options})


def digest_of(model):
    return crc32c.crc32c(b"".join(b.data[:21] for b in model.batches))


# -- append ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value_bytes", [0, 100, 20_000, 300_000])
@pytest.mark.parametrize("groups", [1, 3, 40])
def test_append_stamps_a_copy(tmp_path, value_bytes, groups):
    """Small and large, one batch and many: all ways to the file store the same bytes."""
    model = SegmentModel.create(tmp_path, 1000)
    model.append([5])  # so that what follows begins off a page
    model.append(*[[10, 11, 12]] * min(groups, 8 if value_bytes > 100_000 else 99), value_bytes=value_bytes)
    assert files(model.segment)[0] == model.data
    assert model.segment.size_bytes == len(model.data)
    assert model.segment.next_offset == model.next_offset


def test_append_leaves_the_callers_buffer_alone(tmp_path):
    model = SegmentModel.create(tmp_path)
    buffer = bytearray(encode([1, 2]))
    before = bytes(buffer)
    model.segment.append(buffer, native.check(buffer), 0, 9)
    assert buffer == before


def test_append_takes_any_buffer(tmp_path):
    model = SegmentModel.create(tmp_path)
    plain = encode([1])
    for i, buffer in enumerate([plain, bytearray(plain), memoryview(plain), np.frombuffer(plain, np.uint8)]):
        model.segment.append(buffer, native.check(buffer), i, 0)
    assert [h.base_offset for h in model.segment.headers()] == [0, 1, 2, 3]


def test_append_stamped_keeps_every_byte(tmp_path):
    model = SegmentModel.create(tmp_path, 7)
    buffer = encode([1, 2], base_offset=9, leader_epoch=4) + encode([3], base_offset=20, leader_epoch=5)
    model.segment.append_stamped(buffer, native.check(buffer, client=False))
    assert files(model.segment)[0] == buffer
    assert model.segment.next_offset == 21
    assert [h.leader_epoch for h in model.segment.headers()] == [4, 5]


def test_first_timestamp_is_the_first_batchs_maximum(tmp_path):
    model = SegmentModel.create(tmp_path)
    assert model.segment.first_timestamp_ms == -1
    model.append([50, 70, 60], [900])
    model.append([1])
    assert model.segment.first_timestamp_ms == 70
    assert (model.segment.max_timestamp_ms, model.segment.max_timestamp_offset) == (900, 3)
    model.segment.seal()
    assert stored(tmp_path).first_timestamp_ms == 70


@pytest.mark.parametrize(
    ("offset", "reason"), [(0, "below 3"), (2, "below 3"), (2**31, "above the base"), (2**40, "above the base")]
)
def test_append_refuses_offsets_that_no_index_can_hold(tmp_path, offset, reason):
    model = SegmentModel.create(tmp_path)
    model.append([1, 2, 3])
    buffer = encode([1])
    with pytest.raises(UsageError, match=reason):
        model.segment.append(buffer, native.check(buffer), offset, 0)
    assert files(model.segment)[0] == model.data
    model.segment.append(buffer, native.check(buffer), 2**31 - 1, 0)  # the last one that fits


def test_append_refuses_another_buffer_than_the_checked_one(tmp_path):
    model = SegmentModel.create(tmp_path)
    with pytest.raises(UsageError, match="its check"):
        model.segment.append(encode([1, 2, 3]), native.check(encode([1])), 0, 0)
    assert model.segment.size_bytes == 0


def test_a_segment_never_passes_two_gib(tmp_path):
    model = SegmentModel.create(tmp_path)
    model.append([1])
    size = model.segment.size_bytes
    model.segment.abandon()
    os.truncate(model.segment.path, 2**31)
    with pytest.raises(UsageError, match="no Kafka segment is larger"):
        stored(tmp_path).locate(0)
    with pytest.raises(UsageError, match="no Kafka segment is larger"):
        stored(tmp_path).recover()
    os.truncate(model.segment.path, size)
    assert stored(tmp_path).locate(0) == 0


# -- failing appends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 3])
def test_a_failed_append_changes_nothing(tmp_path, groups):
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path), 0, writable=True)
    segment.create()
    model = SegmentModel(segment)
    model.append([1, 2], value_bytes=5000)
    before = files(segment)[0], segment.header_digest, segment.offset_index.tolist()
    buffer = encode([3], value_bytes=5000) * groups
    disk.plan("write_at", errno.ENOSPC)
    with pytest.raises(OSError, match="space") as caught:
        segment.append(buffer, native.check(buffer), 2, 0)
    assert caught.value.errno == errno.ENOSPC
    assert not caught.value.torn
    assert caught.value.filename == segment.path
    assert (files(segment)[0], segment.header_digest, segment.offset_index.tolist()) == before
    assert segment.next_offset == 2
    model.append([3], [4], value_bytes=5000)
    assert files(segment)[0] == model.data


def test_a_failed_append_that_cannot_be_cut_back_says_so(tmp_path):
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path), 0, writable=True)
    segment.create()
    model = SegmentModel(segment)
    model.append([1])
    disk.plan("write_at", errno.EIO)
    disk.plan("truncate", errno.EIO)
    with pytest.raises(OSError, match="Input/output") as caught:
        segment.append(encode([2], value_bytes=99), native.check(encode([2], value_bytes=99)), 1, 0)
    assert caught.value.torn
    assert files(segment)[0][: len(model.data)] == model.data
    assert len(files(segment)[0]) > len(model.data)
    model.append([2, 3], value_bytes=1000)  # goes over the remains
    assert files(segment)[0] == model.data


def test_create_leaves_no_half_made_segment(tmp_path):
    for call in ("write_file", "open_file"):
        disk = FailingDisk()
        disk.plan(call, errno.ENOSPC)
        with pytest.raises(OSError, match="space"):
            Segment(disk, str(tmp_path), 0, writable=True).create()
        assert os.listdir(tmp_path) == []


def test_create_refuses_to_replace_a_log(tmp_path):
    model = SegmentModel.create(tmp_path)
    model.append([1])
    with pytest.raises(FileExistsError):
        stored(tmp_path).create()
    assert files(model.segment)[0] == model.data


# -- indexes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval_bytes", [0, 300, 4096])
def test_index_files_follow_kafkas_rule(tmp_path, seed, interval_bytes):
    model = SegmentModel.create(tmp_path, 500, index_interval_bytes=interval_bytes)
    model.fill(random.Random(seed), 200)
    model.segment.seal()
    assert files(model.segment) == (model.data, *model.indexes(interval_bytes))
    again = stored(tmp_path, 500, index_interval_bytes=interval_bytes)
    again.recover()
    again.seal()
    assert files(model.segment) == (model.data, *model.indexes(interval_bytes))


def test_index_entries_reach_their_files_at_a_flush_and_only_new_ones(tmp_path):
    model = SegmentModel.create(tmp_path, index_interval_bytes=0)
    model.append(*[[i] for i in range(10)])
    assert files(model.segment)[1:] == (b"", b"")
    model.segment.flush_indexes()
    assert files(model.segment)[1:] == model.indexes(0, forced=False)
    model.append(*[[i] for i in range(10, 20)])
    model.segment.flush_indexes()
    model.segment.flush_indexes()
    assert files(model.segment)[1:] == model.indexes(0, forced=False)
    offset_digest, time_digest = model.segment.index_digests()
    assert offset_digest == (len(files(model.segment)[1]), crc32c.crc32c(files(model.segment)[1]))
    assert time_digest == (len(files(model.segment)[2]), crc32c.crc32c(files(model.segment)[2]))


def test_offset_and_time_index_arrays(tmp_path):
    model = SegmentModel.create(tmp_path, 100, index_interval_bytes=0)
    model.append([7], [9], [8])
    expected = [(1, model.batches[1].position), (2, model.batches[2].position)]
    assert model.segment.offset_index.tolist() == expected
    assert model.segment.time_index.tolist() == [(9, 1)]
    model.segment.close()
    again = stored(tmp_path, 100)
    held = again.offset_index
    assert held.tolist() == expected
    assert not held.flags.writeable
    again.close()
    again.unlink()
    assert held.tolist() == expected


def test_is_full(tmp_path):
    model = SegmentModel.create(tmp_path, 10, index_interval_bytes=0, index_bytes_max=100)
    segment = model.segment
    assert not segment.is_full(5000, 10, 1000)  # an empty segment takes what fits nowhere
    model.append([1])
    size = segment.size_bytes
    assert not segment.is_full(1000 - size, 11, 1000)
    assert segment.is_full(1001 - size, 11, 1000)
    assert not segment.is_full(1, 10 + 2**31 - 1, 1000)
    assert segment.is_full(1, 10 + 2**31, 1000)
    for stamp in range(2, 9):
        assert not segment.is_full(1, 30, 10**6)
        model.append([stamp])
    assert segment.is_full(1, 30, 10**6)  # seven time index entries of eight


# -- life --------------------------------------------------------------------------------------------------------


def test_construction_touches_no_file(tmp_path):
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path / "absent"), 0)
    assert not segment.is_open
    assert disk.calls == []
    with pytest.raises(FileNotFoundError):
        _ = segment.size_bytes


def test_an_empty_segment(tmp_path):
    SegmentModel.create(tmp_path, 40).segment.close()
    assert files(stored(tmp_path, 40)) == (b"", b"", b"")
    for segment in (stored(tmp_path, 40), stored(tmp_path, 40, mapped=False, writable=False)):
        assert (segment.size_bytes, segment.next_offset, segment.max_timestamp_ms) == (0, 40, -1)
        assert segment.locate(40) == 0
        assert segment.offset_for_timestamp(0) is None
        assert segment.headers() == []
        assert segment.digest() == (0, 0, 40)
        assert len(segment.offset_index) == len(segment.time_index) == 0
        assert segment.index_rebuilds == 0


@pytest.mark.parametrize("gaps", [False, True])
def test_lookups_open_sealed_reopened_and_copied(tmp_path, seed, gaps):
    rng = random.Random(seed)
    model = SegmentModel.create(tmp_path, 10_000)
    model.fill(rng, 150, gaps=gaps)
    check_lookups(model, model.segment, rng)
    assert model.segment.header_digest == digest_of(model)
    model.segment.seal()
    check_lookups(model, model.segment, rng)
    for segment in (stored(tmp_path, 10_000), stored(tmp_path, 10_000, mapped=False, writable=False)):
        check_lookups(model, segment, rng)
        assert segment.index_rebuilds == 0
        assert segment.digest() == (digest_of(model), len(model.data), model.next_offset)
        assert segment.header_digest == digest_of(model)
        assert [(h.position, h.base_offset) for h in segment.headers()] == [
            (b.position, b.base_offset) for b in model.batches
        ]
    again = stored(tmp_path, 10_000)
    again.open_for_append()
    model.segment = again
    check_lookups(model, again, rng)
    model.fill(rng, 20, clock=2000, gaps=gaps)
    check_lookups(model, again, rng)


def test_reopening_forgets_the_bytes_since_the_last_entry_as_a_broker_does(tmp_path):
    model = SegmentModel.create(tmp_path, index_interval_bytes=100)
    model.append([5], value_bytes=150)
    model.segment.close()
    model.segment = stored(tmp_path, index_interval_bytes=100)
    model.segment.open_for_append(header_digest=digest_of(model))
    model.append([6])
    assert model.segment.offset_index.tolist() == []
    assert model.segment.time_index.tolist() == [(5, 0)]  # forced by the stop
    model.append([7], value_bytes=150)
    model.append([8])
    assert model.segment.offset_index.tolist() == [(3, model.batches[3].position)]
    assert model.segment.header_digest == digest_of(model)
    model.segment.close()
    assert stored(tmp_path).time_index.tolist() == [(5, 0), (8, 3)]


def test_reopened_without_a_digest_it_is_found_at_the_seal(tmp_path):
    model = SegmentModel.create(tmp_path)
    model.append([1])
    model.segment.close()
    model.segment = stored(tmp_path)
    model.segment.open_for_append()
    model.append([2])
    assert model.segment.header_digest is None
    model.segment.seal()
    assert model.segment.header_digest == digest_of(model)


def test_truncate(tmp_path, seed):
    rng = random.Random(seed)
    model = SegmentModel.create(tmp_path, index_interval_bytes=500)
    model.fill(rng, 100)
    model.segment.flush_indexes()
    while model.batches:
        keep = rng.randrange(len(model.batches))
        cut = model.batches[keep]
        del model.batches[keep:]
        model.segment.truncate(cut.position, cut.base_offset)
        assert files(model.segment)[0] == model.data
        assert (model.segment.size_bytes, model.segment.next_offset) == (cut.position, cut.base_offset)
        assert model.segment.header_digest == digest_of(model)
        if model.batches:
            check_lookups(model, model.segment, rng, 20)
            if keep > 10 and rng.random() < 0.5:
                model.fill(rng, 5)
    assert (model.segment.first_timestamp_ms, model.segment.max_timestamp_ms) == (-1, -1)
    model.fill(rng, 50)
    model.segment.seal()
    assert files(model.segment) == (model.data, *model.indexes(500))


def test_arrays_and_views_outlive_truncation_close_and_unlink(tmp_path):
    model = SegmentModel.create(tmp_path, index_interval_bytes=0)
    for i in range(50):
        model.append([i], value_bytes=1000)
    segment = model.segment
    log, index = segment.read(0, len(model.data) // 2), segment.offset_index
    before = bytes(log), index.tolist()
    kept = model.batches[25:]
    segment.truncate(kept[0].position, kept[0].base_offset)
    model.batches = model.batches[:25]
    for i in range(60):
        model.append([i], value_bytes=1100)
    segment.close()
    segment.unlink()
    assert os.listdir(tmp_path) == []
    assert (bytes(log), index.tolist()) == before


def test_renamed_it_reads_on(tmp_path, seed):
    rng = random.Random(seed)
    model = SegmentModel.create(tmp_path)
    model.fill(rng, 30)
    model.segment.seal()
    model.segment.rename_suffix(".deleted")
    assert sorted(os.listdir(tmp_path)) == [f"{0:020d}.{kind}.deleted" for kind in ("index", "log", "timeindex")]
    assert model.segment.path.endswith(".log.deleted")
    check_lookups(model, model.segment, rng)
    model.segment.unlink()
    assert os.listdir(tmp_path) == []


def test_what_takes_no_appends_says_so(tmp_path):
    model = SegmentModel.create(tmp_path)
    model.append([1])
    model.segment.seal()
    with pytest.raises(UsageError, match="takes no appends"):
        model.segment.append(encode([1]), native.check(encode([1])), 1, 0)
    with pytest.raises(UsageError, match="takes no appends"):
        model.segment.append_stamped(encode([1], base_offset=1), native.check(encode([1], base_offset=1)))
    with pytest.raises(UsageError, match="takes no appends"):
        model.segment.is_full(1, 1, 100)
    with pytest.raises(UsageError, match="takes no appends"):
        model.segment.seal()
    with pytest.raises(UsageError, match="takes no appends"):
        model.segment.truncate(0, 0)


def test_a_failed_seal_leaves_it_open(tmp_path):
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path), 0, writable=True, index_interval_bytes=0)
    segment.create()
    model = SegmentModel(segment)
    model.append([1], [2])
    disk.plan("write_at", errno.ENOSPC)
    with pytest.raises(OSError, match="space"):
        segment.seal()
    assert segment.is_open
    model.append([3])
    segment.seal()
    assert files(segment)[0] == model.data
    again = stored(tmp_path)
    assert again.locate(2) == model.locate(2)
    assert again.index_rebuilds == 0


def test_flush_of_the_log_once_and_after_the_seal(tmp_path):
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path), 0, writable=True)
    segment.create()
    model = SegmentModel(segment)
    model.append([1])

    def syncs():
        found = [name for call, name in disk.calls if call == "sync"]
        disk.calls.clear()
        return found

    segment.flush_log()
    segment.flush_log()
    assert syncs() == ["00000000000000000000.log"]
    model.append([2])
    segment.seal(sync=False)
    assert syncs() == []
    segment.flush_log()
    segment.flush_indexes()
    assert sorted(syncs()) == [f"{0:020d}.{kind}" for kind in ("index", "log", "timeindex")]
    segment.flush_log()
    segment.flush_indexes()
    assert syncs() == []
    disk.plan("sync", errno.EIO)
    again = Segment(disk, str(tmp_path), 0, writable=True)
    again.open_for_append()
    with pytest.raises(OSError, match="Input/output"):
        again.flush_log()


def test_sealed_segments_share_a_bound_on_open_files(tmp_path, seed):
    rng = random.Random(seed)
    shared = OpenSegments(3)
    models = []
    for base in range(0, 10_000, 1000):
        model = SegmentModel.create(tmp_path, base)
        model.fill(rng, 10)
        model.segment.close()
        models.append(model)
        model.segment = stored(tmp_path, base, open_segments=shared)
    for _ in range(50):
        model = rng.choice(models)
        check_lookups(model, model.segment, rng, 2)
        assert len(shared) <= 3
    held = [model.segment.read(0, model.end_position) for model in models]
    assert [bytes(view) for view in held] == [model.data for model in models]
    for model in models:
        model.segment.close()
    assert len(shared) == 0


def test_two_flushes_at_once_both_wait_for_the_medium(tmp_path):
    """The second must not return on the word of a first that has not finished."""
    disk = FailingDisk()
    segment = Segment(disk, str(tmp_path), 0, writable=True)
    segment.create()
    SegmentModel(segment).append([1])
    inside, may_end = threading.Event(), threading.Event()

    def slow(call, path):
        if call == "sync":
            inside.set()
            assert may_end.wait(60)
        return FailingDisk.hit(disk, call, path)

    disk.hit = slow
    first = threading.Thread(target=segment.flush_log)
    first.start()
    assert inside.wait(60)
    inside.clear()
    second = threading.Thread(target=segment.flush_log)
    second.start()
    assert inside.wait(60)
    may_end.set()
    first.join()
    second.join()
    assert [call for call, _ in disk.calls].count("sync") == 2


def test_a_cut_above_damage_stands(tmp_path):
    """Truncation needs no sound log below: the damage is there for whoever reads it."""
    model = SegmentModel.create(tmp_path)
    model.append([1], [2], [3])
    middle, last = model.batches[1], model.batches[2]
    with open(model.segment.path, "r+b") as file:
        file.seek(middle.position + 16)
        file.write(b"\0")
    model.segment.truncate(last.position, last.base_offset)
    assert (model.segment.size_bytes, model.segment.next_offset) == (last.position, last.base_offset)
    assert model.segment.header_digest is None
