"""Columns that a caller makes: encoded as the same records would be, refused before a byte outside is read."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kstore
from kstore._native.records import Encoder

INT64 = 2**63
RECORDS = st.lists(
    st.tuples(st.none() | st.binary(max_size=90), st.none() | st.binary(max_size=200), st.integers(-INT64, INT64 - 1))
)


def laid_out(records, *, gap=b""):
    """Records (key, value, timestamp) as one buffer and its bounds."""
    buffer, bounds = bytearray(), {"key": [], "value": []}
    for key, value, _ in records:
        for name, data in (("key", key), ("value", value)):
            buffer += gap
            bounds[name].append((-1, -1) if data is None else (len(buffer), len(buffer) + len(data)))
            buffer += data or b""
    both = {name: np.array(rows, np.int64).reshape(-1, 2) for name, rows in bounds.items()}
    return kstore.Columns(
        buffer, both["value"][:, 0], both["value"][:, 1], key_starts=both["key"][:, 0], key_ends=both["key"][:, 1],
        timestamps=[timestamp for _, _, timestamp in records],
    )  # fmt: skip


def as_records(records, default):
    return [kstore.Record(v, key=k, timestamp_ms=default if t == -1 else t) for k, v, t in records]


# -- encoding ---------------------------------------------------------------------------------------------------------


@given(RECORDS, st.integers(-1, 2**62), st.sampled_from(["none", "gzip"]), st.sampled_from([None, 400, 1000]))
def test_columns_are_encoded_byte_for_byte_as_the_same_records(records, timestamp_ms, codec, limit):
    how = {"timestamp_ms": timestamp_ms, "compression": codec, "batch_bytes_max": limit}
    expected = kstore.encode_batches(as_records(records, timestamp_ms), **how)
    assert kstore.encode_batches(laid_out(records, gap=b"gap"), **how) == expected


@given(RECORDS)
def test_what_a_read_gives_as_columns_can_be_encoded_again(records):
    data = kstore.encode_batches(as_records(records, 5))
    assert kstore.encode_batches(kstore.decode_batches(data).columns()) == data


@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 65, 8190, 8191, 8192, 8193, 100_000])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_values_of_one_size_around_the_widths_of_their_numbers(size, count):
    values = [bytes([i]) * size for i in range(count)]
    ends = np.arange(1, count + 1) * size
    made = kstore.encode_batches(kstore.Columns(b"".join(values), ends - size, ends), timestamp_ms=7)
    assert made == kstore.encode_batches(values, timestamp_ms=7)


def test_many_records_in_one_batch():
    values = [b"%d" % i for i in range(20_000)]
    ends = np.cumsum([len(value) for value in values])
    starts = np.concatenate(([0], ends[:-1]))
    assert kstore.encode_batches(kstore.Columns(b"".join(values), starts, ends)) == kstore.encode_batches(values)


def test_a_partition_takes_columns(tmp_path):
    rows = [(b"k", b"one", 5), (None, None, -1), (b"", b"three", 9)]
    with kstore.open(tmp_path) as store:
        store.create_topic("t")
        log = store.partition("t", 0)
        done = log.append(laid_out(rows), timestamp_ms=7, compression="gzip")
        assert (done.base_offset, done.next_offset) == (0, 3)
        found = [(r.offset, r.key, r.value, r.timestamp_ms, r.headers) for r in log.read(0)]
        assert found == [(0, b"k", b"one", 5, ()), (1, None, None, 7, ()), (2, b"", b"three", 9, ())]
        assert log.append(log.read(0).columns()).base_offset == 3
        assert log.append(kstore.Columns(b"", [], [])).next_offset == 6


def test_no_object_is_made_for_a_record():
    count = 50_000
    ends = np.arange(1, count + 1) * 10
    columns = kstore.Columns(bytes(10 * count), ends - 10, ends)
    encoder = Encoder()
    encoder.encode(columns)
    tracemalloc.start()
    encoder.encode(columns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000


def test_a_record_that_fits_no_batch_is_refused_and_nothing_is_stored(tmp_path):
    columns = kstore.Columns(bytes(3000), [0, 0, 0], [10, 3000, 10])
    with kstore.open(tmp_path) as store:
        store.create_topic("t", config={"max.message.bytes": 2000})
        log = store.partition("t", 0)
        with pytest.raises(kstore.BatchTooLarge):
            log.append(columns)
        assert log.log_end_offset == 0
        assert log.append(kstore.Columns(bytes(3000), [0], [1900])).next_offset == 1


# -- what a caller may bring ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64, ">i8", ">u4", list])
def test_any_kind_of_whole_number_is_taken(number):
    starts, ends = [0, 3], [3, 5]
    if number is not list:
        starts, ends = np.array(starts, number), np.array(ends, number)
    columns = kstore.Columns(b"abcde", starts, ends)
    assert [columns.value(i) for i in range(2)] == [b"abc", b"de"]
    assert (columns.key(0), list(columns.offsets), list(columns.timestamps)) == (None, [0, 1], [-1, -1])


@pytest.mark.parametrize(
    "buffer",
    [b"abcdef", bytearray(b"abcdef"), memoryview(b"abcdef"), np.frombuffer(b"abcdef", np.uint8),
     np.frombuffer(b"abcdef", "S3"), np.frombuffer(b"abcdef", ">i2").reshape(3, 1), array.array("H", b"abcdef")],
)  # fmt: skip
def test_any_stretch_of_memory_is_a_buffer(buffer):
    columns = kstore.Columns(buffer, [0, 3], [3, 6])
    assert [columns.value(i) for i in range(2)] == [b"abc", b"def"]
    assert [r.value for r in kstore.decode_batches(kstore.encode_batches(columns))] == [b"abc", b"def"]


def test_strided_arrays_are_copied_right():
    bounds = np.array([[0, 9, 2], [2, 9, 6]])
    assert kstore.Columns(b"abcdef", bounds[:, 0], bounds[:, 2]).value(1) == b"cdef"


def test_bounds_are_copied_so_that_nobody_changes_what_was_checked():
    starts, ends = np.array([0]), np.array([3])
    columns = kstore.Columns(b"abc", starts, ends)
    starts[0], ends[0] = -(10**9), 10**9
    assert columns.value(0) == b"abc"
    assert [r.value for r in kstore.decode_batches(kstore.encode_batches(columns))] == [b"abc"]


def test_the_buffer_stays_where_it_is_while_columns_look_at_it():
    buffer = bytearray(b"abc")
    columns = kstore.Columns(buffer, [0], [3])
    with pytest.raises(BufferError):
        buffer.clear()
    assert columns.value(0) == b"abc"


# -- what is refused --------------------------------------------------------------------------------------------------

BAD_BOUNDS = [
    (0, 6), (-1, 0), (0, -1), (-2, -2), (-2, -1), (3, 2), (6, 6), (5, 6), (-5, 3), (-INT64, INT64 - 1),
    (INT64 - 1, INT64 - 1), (INT64 - 1, -INT64), (-INT64, -INT64), (1, INT64 - 1), (-INT64, 0),
]  # fmt: skip


@pytest.mark.parametrize("bounds", BAD_BOUNDS)
@pytest.mark.parametrize("what", ["value", "key"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_bounds_outside_the_buffer_are_refused(bounds, what, at):
    good = np.array([(0, 5), (5, 5), (-1, -1)])
    bad = good.copy()
    bad[at] = bounds
    keys, values = (bad, good) if what == "key" else (good, bad)
    with pytest.raises(kstore.UsageError, match=f"record {at}: its {what} is bytes {bounds[0]} to {bounds[1]}"):
        kstore.Columns(b"abcde", values[:, 0], values[:, 1], key_starts=keys[:, 0], key_ends=keys[:, 1])


@given(
    st.binary(max_size=20),
    st.lists(st.tuples(st.integers(-3, 25) | st.integers(-INT64, INT64 - 1), st.integers(-3, 25)), max_size=5),
)
def test_whatever_the_bounds_are_nothing_outside_is_read(buffer, bounds):
    starts, ends = [start for start, _ in bounds], [end for _, end in bounds]
    legal = all((s, e) == (-1, -1) or 0 <= s <= e <= len(buffer) for s, e in bounds)
    try:
        columns = kstore.Columns(buffer, starts, ends)
    except kstore.UsageError:
        assert not legal
    else:
        assert legal
        expected = [None if s < 0 else buffer[s:e] for s, e in bounds]
        assert [r.value for r in kstore.decode_batches(kstore.encode_batches(columns))] == expected


class Shrinking:
    """An array that is another one whenever it is looked at."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __array__(self, dtype=None, copy=None):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_an_array_that_lies_about_itself_is_held_to_what_was_copied():
    starts = Shrinking(np.array([0, 1]), np.array([-99]))
    assert kstore.Columns(b"ab", starts, [1, 2]).value(1) == b"b"
    with pytest.raises(kstore.UsageError, match="value_ends has 1 numbers for 2 records"):
        kstore.Columns(b"ab", [0, 1], Shrinking(np.array([2])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"value_ends": [1]}, "value_ends has 1 numbers for 2 records"),
        ({"value_ends": [1, 2, 3]}, "value_ends has 3 numbers for 2 records"),
        ({"timestamps": [1]}, "timestamps has 1 numbers for 2 records"),
        ({"key_starts": [0, 1]}, "come together"),
        ({"key_ends": [0, 1]}, "come together"),
        ({"key_starts": [0], "key_ends": [1]}, "key_starts has 1 numbers for 2 records"),
        ({"value_starts": [0.0, 1.0]}, "whole numbers"),
        ({"value_starts": np.zeros((2, 2), int)}, "2 dimensions"),
        ({"value_starts": [[0], [1, 2]]}, "whole numbers"),
        ({"value_starts": ["a", "b"]}, "whole numbers"),
        ({"value_starts": None}, "whole numbers"),
        ({"value_starts": [True, False]}, "whole numbers"),
        ({"value_starts": np.array([0, 2**64 - 1], np.uint64)}, "more than an int64"),
        ({"value_starts": [0, 2**70]}, "whole numbers"),
        ({"buffer": "text"}, "bytes-like"),
        ({"buffer": 5}, "bytes-like"),
        ({"buffer": np.zeros((4, 4), np.uint8)[:, ::2]}, "one stretch"),
    ],
)
def test_what_is_no_column_is_refused(arrays, message):
    given_arrays = {"buffer": b"abcdef", "value_starts": [0, 1], "value_ends": [1, 2], **arrays}
    with pytest.raises(kstore.UsageError, match=message):
        kstore.Columns(**given_arrays)


def test_columns_never_change_and_are_never_empty_shells():
    columns = kstore.Columns(b"ab", [0], [2])
    with pytest.raises(kstore.UsageError, match="never change"):
        columns.__init__(b"abcd", [0], [4])
    with pytest.raises(ValueError, match="read-only"):
        columns.value_ends[0] = 9
    with pytest.raises(kstore.UsageError, match="never filled"):
        kstore.encode_batches(kstore.Columns.__new__(kstore.Columns))
