"""The sparse indexes alone: search, structure, cadence, and arrays that stay as they were."""

from __future__ import annotations

import bisect
import itertools
import random
import struct

import numpy as np
import pytest

from kstore._native.index import OFFSET_ENTRY, TIME_ENTRY, Indexes, OffsetIndex, TimeIndex


def offset_entries(*pairs):
    return b"".join(struct.pack(">ii", *pair) for pair in pairs)


def time_entries(*pairs):
    return b"".join(struct.pack(">qi", *pair) for pair in pairs)


def test_lookup_is_the_last_entry_at_or_below():
    index = OffsetIndex(100, offset_entries((5, 4100), (9, 8200), (20, 12300)))
    assert [index.lookup(o) for o in (0, 100, 104, 105, 108, 109, 119, 120, 10**15)] == [
        0, 0, 0, 4100, 4100, 8200, 8200, 12300, 12300,
    ]  # fmt: skip


def test_lookup_agrees_with_bisect_for_every_size(seed):
    rng = random.Random(seed)
    for count in [*range(40), 1000, 4097]:
        offsets = sorted(rng.sample(range(1, 10 * count + 10), count))
        index = OffsetIndex(7, offset_entries(*((o, o * 3) for o in offsets)))
        targets = [rng.randint(0, 10 * count + 30) for _ in range(50)] + [7 + o for o in offsets[:50]]
        expected = [3 * offsets[i - 1] if (i := bisect.bisect_right(offsets, t - 7)) else 0 for t in targets]
        assert [index.lookup(t) for t in targets] == expected
        assert index.lookup_many(np.array(targets)).tolist() == expected


@pytest.mark.parametrize("shape", ["even", "two slopes", "rising slope", "one leap", "noisy"])
def test_lookup_agrees_with_bisect_however_entries_lie(shape, seed):
    """A guess by a straight line may be right, or wrong by the whole index, on either side."""
    rng = random.Random(seed)
    for count in (9, 17, 100, 20_000):
        steps = {
            "even": [40] * count,
            "two slopes": [1] * (count // 2) + [20_000] * (count - count // 2),
            "rising slope": [1 + i for i in range(count)],
            "one leap": [3] * (count - 1) + [10**9],
            "noisy": [rng.choice((1, 2, 1000)) for _ in range(count)],
        }[shape]
        offsets = [*itertools.accumulate(steps)]
        index = OffsetIndex(0, offset_entries(*((o, i + 1) for i, o in enumerate(offsets))))
        some = rng.sample(range(count), min(count, 300))
        targets = [offsets[i] + d for i in [*some, 0, count - 1] for d in (-1, 0, 1)] + [rng.randrange(offsets[-1])]
        expected = [bisect.bisect_right(offsets, t) for t in targets]
        assert index.lookup_many(targets).tolist() == expected
        assert [index.lookup(t) for t in targets] == expected


def test_lookup_many_takes_any_integers():
    index = OffsetIndex(0, offset_entries((5, 4100)))
    assert index.lookup_many([4, 5]).tolist() == [0, 4100]
    assert index.lookup_many(np.array([5, 4, 5], ">i4")[::2]).tolist() == [4100, 4100]
    assert index.lookup_many([]).tolist() == []
    assert OffsetIndex(0).lookup_many([3]).tolist() == [0]


def test_slot_below_a_timestamp():
    index = TimeIndex(0, time_entries((0, 1), (10, 4), (2**62, 9)))
    stamps = (-(2**63), -1, 0, 1, 10, 11, 2**62, 2**62 + 1, 2**63 - 1)
    assert [index.slot_below(s) for s in stamps] == [-1, -1, -1, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("entries", "sound"),
    [
        ([], 0),
        ([(1, 62)], 1),
        ([(1, 62), (2, 200)], 2),
        ([(0, 62)], 0),  # an entry of the first batch: never made
        ([(1, 0)], 0),
        ([(1, 62), (1, 200)], 1),  # offsets must rise
        ([(1, 62), (2, 62)], 1),  # positions too
        ([(1, 62), (2, 1000)], 1),  # outside the log
        ([(1, 62), (0, 0), (0, 0)], 1),  # preallocated and never filled
        ([(-1, 62)], 0),
        ([(1, -62)], 0),
    ],
)
def test_entries_that_can_stand_where_they_stand(entries, sound):
    assert OffsetIndex(0, offset_entries(*entries)).sound(1000) == sound


@pytest.mark.parametrize(
    ("entries", "sound"),
    [
        ([], 0),
        ([(0, 0)], 1),  # one record of timestamp 0
        ([(5, 0), (6, 3)], 2),
        ([(-1, 3)], 0),
        ([(5, 3), (5, 4)], 1),
        ([(5, 3), (6, 3)], 1),
        ([(5, 3), (0, 0)], 1),
        ([(5, -3)], 0),
    ],
)
def test_time_entries_that_can_stand_where_they_stand(entries, sound):
    assert TimeIndex(0, time_entries(*entries)).sound() == sound


def test_cadence_counts_before_the_batch_and_beyond_the_interval():
    indexes = Indexes(50, 100, 1 << 20)
    indexes.add(0, 100, 50, 7)  # nothing before it
    indexes.add(100, 1, 51, 9)  # 100 bytes are not more than 100
    indexes.add(101, 100, 52, 8)  # 101 are: offset of this batch, timestamp of the one before
    indexes.add(201, 500, 53, 9)  # exactly 100 since
    indexes.add(701, 10, 54, 9)  # due, but the maximum has not risen
    assert indexes.offsets.array.tolist() == [(2, 101), (4, 701)]
    assert indexes.times.array.tolist() == [(9, 1)]
    assert (indexes.max_timestamp_ms, indexes.max_timestamp_offset) == (9, 51)


def test_forced_last_entry_once():
    indexes = Indexes(0, 100, 1 << 20)
    indexes.force_last_time()
    assert len(indexes.times) == 0  # no timestamp at all: nothing to force
    indexes.add(0, 10, 0, 7)
    indexes.force_last_time()
    indexes.force_last_time()
    assert indexes.times.array.tolist() == [(7, 0)]


def test_negative_timestamps_leave_no_entry():
    indexes = Indexes(0, 0, 1 << 20)
    for i in range(5):
        indexes.add(i * 10, 10, i, -(10**15) + i)
    indexes.force_last_time()
    assert len(indexes.times) == 0
    assert len(indexes.offsets) == 4


def test_full_with_one_time_entry_in_reserve():
    indexes = Indexes(0, 0, 100)  # 12 offset entries, 8 time entries
    for i in range(8):
        assert not indexes.is_full()
        indexes.add(i * 10, 10, i, i)
    assert indexes.is_full()  # by the time index: 7 of 8
    for i in range(8, 40):
        indexes.add(i * 10, 10, i, i)
    assert len(indexes.times) == 7
    assert len(indexes.offsets) == 12
    indexes.force_last_time()
    assert len(indexes.times) == 8
    assert indexes.times.array["timestamp"][-1] == 39


def test_full_by_offsets_alone():
    indexes = Indexes(0, 0, 100)
    for i in range(13):
        indexes.add(i * 10, 10, i, 5)
    assert len(indexes.times) == 1
    assert indexes.is_full()


def test_arrays_are_kafkas_types_read_only_and_stay_as_they_were():
    indexes = Indexes(0, 0, 1 << 20)
    for i in range(100):
        indexes.add(i * 10, 10, i, i)
    offsets, times = indexes.offsets.array, indexes.times.array
    assert (offsets.dtype, times.dtype) == (OFFSET_ENTRY, TIME_ENTRY)
    assert not offsets.flags.writeable
    assert not times.flags.writeable
    before = offsets.tobytes(), times.tobytes()
    indexes.cut(50)
    for i in range(50, 5000):
        indexes.add(i * 20, 20, i, i + 3)
    del indexes
    assert (offsets.tobytes(), times.tobytes()) == before
    assert len(offsets) == 99


def test_cut_drops_entries_at_and_above():
    indexes = Indexes(0, 0, 1 << 20)
    for i in range(10):
        indexes.add(i * 10, 10, i, i)
    indexes.cut(5)
    assert indexes.offsets.array.tolist() == [(i, i * 10) for i in range(1, 5)]
    assert indexes.times.array.tolist() == [(i, i) for i in range(1, 5)]
    assert (indexes.max_timestamp_ms, indexes.max_timestamp_offset) == (4, 4)
    indexes.cut(0)
    assert (len(indexes.offsets), len(indexes.times), indexes.max_timestamp_ms) == (0, 0, -1)


def test_bytes_are_the_files_bytes():
    indexes = Indexes(1000, 0, 1 << 20)
    for i in range(4):
        indexes.add(i * 100, 100, 1000 + i, 77 + i)
    assert indexes.offsets.tail(0) == offset_entries((1, 100), (2, 200), (3, 300))
    assert indexes.offsets.tail(2) == offset_entries((3, 300))
    assert indexes.offsets.tail(3) == b""
    assert indexes.times.tail(1) == time_entries((79, 2), (80, 3))
    size, crc = indexes.offsets.digest()
    assert (size, len(indexes.times)) == (24, 3)
    assert crc == OffsetIndex(0, indexes.offsets.tail(0)).digest()[1]
