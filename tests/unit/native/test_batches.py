"""Decoding: records, tuples, columns, and what each does with damage."""

from __future__ import annotations

import gc
import gzip
import random
import struct
import subprocess
import sys

import crc32c as pypi_crc32c
import numpy as np
import pytest

from kstore import compression
from kstore._native import batch, batches
from kstore._native.batches import Batches
from kstore._native.records import Encoder, Record, encode_marker
from kstore.errors import CorruptionError, UsageError
from kstore.records import decode_batches, encode_batches


def with_crc(data: bytes | bytearray) -> bytes:
    """One batch with its length and checksum set right again after an edit."""
    data = bytearray(data)
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">I", data, 17, pypi_crc32c.crc32c(bytes(data[21:])))
    return bytes(data)


def edited(data: bytes, layout: str, at: int, value: int) -> bytes:
    own = bytearray(data)
    struct.pack_into(layout, own, at, value)
    return with_crc(own)


def marker(offset: int, producer_id: int, *, commit: bool) -> bytes:
    return encode_marker(
        offset, leader_epoch=0, producer_id=producer_id, producer_epoch=0, commit=commit, coordinator_epoch=0,
        timestamp_ms=0,
    )


def of_producer(values: list[bytes], offset: int, producer_id: int, *, transactional: bool = True) -> bytes:
    return encode_batches(
        values, base_offset=offset, producer_id=producer_id, producer_epoch=0, base_sequence=0,
        transactional=transactional,
    )


# -- the raw side ------------------------------------------------------------------------------------------------


def test_the_buffer_is_handed_on_read_only_and_without_a_copy() -> None:
    data = bytearray(encode_batches([b"a", b"b"], base_offset=3))
    found = Batches(data, file="x.log", position=7)
    assert found.buffer.readonly
    assert np.shares_memory(np.frombuffer(found.buffer, np.uint8), np.frombuffer(data, np.uint8))
    assert (len(found), found.next_offset, found.size_bytes) == (2, 5, len(data))
    assert (found.file, found.position, found.aborted) == ("x.log", 7, ())


def test_any_buffer_will_do() -> None:
    data = encode_batches([b"a"])
    for buffer in (np.frombuffer(data, np.uint8), np.frombuffer(data[: len(data) // 4 * 4], np.int32)):
        try:
            assert [r.value for r in decode_batches(buffer)] == [b"a"]
        except CorruptionError:
            assert len(data) % 4  # cut to whole numbers


def test_nothing_to_read() -> None:
    empty = Batches(b"", 42)
    assert (list(empty), len(empty), empty.next_offset, bool(empty)) == ([], 0, 42, False)
    assert len(empty.columns()) == 0
    assert empty.columns().offsets.dtype == np.int64


def test_a_batch_of_control_records_alone_is_something_to_read_on_from() -> None:
    found = Batches(marker(9, 1, commit=True))
    assert (bool(found), len(found), list(found), found.next_offset) == (True, 0, [], 10)
    assert [r.offset for r in found.records(control=True)] == [9]


# -- records -----------------------------------------------------------------------------------------------------


def test_records_know_their_batch() -> None:
    data = encode_batches([b"a", b"b"], base_offset=5, leader_epoch=2, producer_id=7, producer_epoch=1, base_sequence=3)
    first, second = Batches(encode_batches([b"x"]) + data, position=1000).records(from_offset=5)
    assert (second.offset, second.sequence, second.leader_epoch) == (6, 4, 2)
    assert (first.producer_id, first.producer_epoch, first.sequence) == (7, 1, 3)
    assert first.batch is second.batch
    assert first.batch is not None
    assert first.batch.position == 1000 + len(encode_batches([b"x"]))
    assert first.size_bytes == 8


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_from_offset_skips_batches_and_records_below(compression: str | None) -> None:
    data = encode_batches([b"%d" % n for n in range(10)], compression=compression, batch_bytes_max=85)
    found = decode_batches(data)
    assert len(list(batch.headers(data))) >= 3
    for start in range(12):
        assert [r.offset for r in found.records(from_offset=start)] == list(range(start, 10))
        assert [t[0] for t in found.tuples(from_offset=start)] == list(range(start, 10))


@pytest.mark.parametrize("bit", [23 * 8 + 7, 21 * 8 + 10])  # one offset more, a control batch
def test_what_is_passed_over_is_checked_too(bit: int) -> None:
    damaged = bytearray(encode_batches([b"a"]))
    damaged[bit >> 3] ^= 0x80 >> (bit & 7)
    found = decode_batches(bytes(damaged) + encode_batches([b"b"], base_offset=1))
    for way in (lambda: list(found), lambda: list(found.records(from_offset=1)), found.columns):
        with pytest.raises(CorruptionError):
            way()


def test_columns_of_records_that_differ_in_one_thing_only(seed: int) -> None:
    """Runs of records cut alike are decoded by comparison: what looks alike and is not must be told apart."""
    dice = random.Random(seed)
    keys = [None, b"", b"k", b"key of 17 bytes!!"]
    values = [None, b"", b"\0", b"\1", b"v", b"ab", b"\0" * 63, b"\0" * 64, bytes(8150), bytes(9000)]
    for _ in range(200):
        kinds = dice.choice((1, 2, 3))
        few = [(dice.choice(keys), dice.choice(values), dice.choice((0, 0, 1, 70))) for _ in range(kinds)]
        chosen = [dice.choice(few) for _ in range(dice.randrange(1, 150))]
        records = [
            Record(value, key=key, timestamp_ms=1000 + after, headers=[("", b"")] if dice.random() < 0.02 else ())
            for key, value, after in chosen
        ]
        found = decode_batches(encode_batches(records, base_offset=7))
        columns = found.columns()
        got = zip(columns.offsets.tolist(), columns.timestamps.tolist(), strict=True)
        rows = [(*pair, columns.key(i), columns.value(i)) for i, pair in enumerate(got)]
        assert rows == list(found.tuples())
        assert rows == [(7 + i, 1000 + after, key, value) for i, (key, value, after) in enumerate(chosen)]


def test_a_record_cut_like_the_others_that_claims_a_header_is_found() -> None:
    data = encode_batches([b"value"] * 5)
    assert data[-1] == 0  # the number of headers of the last record
    for way in (lambda found: found.columns(), lambda found: list(found.tuples())):
        with pytest.raises(CorruptionError):
            way(decode_batches(edited(data, ">B", len(data) - 1, 2)))


def test_a_tuple_that_is_held_does_not_change() -> None:
    found = decode_batches(encode_batches([b"a", b"b", b"c"])).tuples()
    first = next(found)
    copied = (*first,)
    second = next(found)
    assert first == copied != second
    assert next(found)[0] == second[0] + 1


def test_tuples_that_are_let_go_are_right_nonetheless() -> None:
    data = encode_batches([Record(b"%d" % i, key=b"k", timestamp_ms=i // 2) for i in range(6)])
    hashes = {hash(record) for record in decode_batches(data).tuples()}  # a tuple made anew must forget its hash
    assert hashes == {hash((i, i // 2, b"k", b"%d" % i)) for i in range(6)}
    found = [(value, key, timestamp, offset) for offset, timestamp, key, value in decode_batches(data).tuples()]
    assert found == [(b"%d" % i, b"k", i // 2, i) for i in range(6)]


def test_the_collector_has_no_records_to_visit() -> None:
    assert not gc.is_tracked(next(iter(decode_batches(encode_batches([(b"k", b"v", [("h", b"x")])])))))


def test_tuples_are_the_records_in_short() -> None:
    found = decode_batches(encode_batches([(b"k", b"v"), (None, b"w"), (b"k", None)], timestamp_ms=3, base_offset=8))
    assert list(found.tuples()) == [(8, 3, b"k", b"v"), (9, 3, None, b"w"), (10, 3, b"k", None)]


def test_log_append_time_is_every_records_time() -> None:
    own = bytearray(encode_batches([b"a", b"b"], timestamp_ms=5))
    batch.set_log_append_time(own, 77)
    assert [(r.timestamp_ms, r.timestamp_type) for r in decode_batches(own)] == [(77, "LogAppendTime")] * 2
    assert decode_batches(own).columns().timestamps.tolist() == [77, 77]
    assert next(decode_batches(own).tuples())[1] == 77


def test_deltas_of_a_horizon_batch_count_from_the_horizon() -> None:
    horizon = 10**12
    own = encode_batches([Record(b"v", timestamp_ms=horizon), Record(b"w", timestamp_ms=5)])
    own = edited(own, ">H", 21, 0x40)
    (header,) = batch.headers(own)
    assert (header.has_horizon, header.delete_horizon_ms) == (True, horizon)
    assert [r.timestamp_ms for r in decode_batches(own)] == [horizon, 5]


def test_a_batch_that_compaction_emptied_is_passed_over() -> None:
    emptied = edited(edited(encode_batches([b"a", b"b"])[:61], ">i", 57, 0), ">i", 23, 1)
    data = emptied + encode_batches([b"c"], base_offset=2)
    found = decode_batches(data)
    assert ([r.offset for r in found], len(found), found.next_offset) == ([2], 1, 3)
    assert found.columns().offsets.tolist() == [2]


def test_gaps_that_compaction_left() -> None:
    whole = encode_batches([b"a", b"b", b"c"])
    first, last = whole[61:69], whole[77:85]
    kept = edited(whole[:61] + first + last, ">i", 57, 2)
    assert [(r.offset, r.value) for r in decode_batches(kept)] == [(0, b"a"), (2, b"c")]
    assert batch.check(kept, client=False, records=True).next_offset == 3


# -- read committed ----------------------------------------------------------------------------------------------


def test_what_aborted_transactions_wrote_is_hidden() -> None:
    data = b"".join(
        [
            of_producer([b"a0", b"a1"], 0, 1),
            of_producer([b"plain"], 2, 1, transactional=False),
            of_producer([b"other"], 3, 2),
            of_producer([b"a4"], 4, 1),
            marker(5, 1, commit=False),
            of_producer([b"b6"], 6, 1),
            marker(7, 1, commit=True),
            marker(8, 2, commit=True),
        ]
    )
    aborted = [(1, 0, 5)]
    found = Batches(data, aborted=aborted)
    assert [r.offset for r in found] == [2, 3, 6]
    assert [t[0] for t in found.tuples()] == [2, 3, 6]
    assert found.columns().offsets.tolist() == [2, 3, 6]
    assert (len(found), found.next_offset) == (3, 9)
    assert [r.offset for r in found.records(control=True)] == [2, 3, 5, 6, 7, 8]
    assert [r.offset for r in Batches(data)] == [0, 1, 2, 3, 4, 6]


# -- columns -----------------------------------------------------------------------------------------------------

RECORDS = [(b"k", b"value"), (None, b""), (b"", None), (b"key", b"v" * 300, [("h", b"x")]), (None, None)]


@pytest.mark.parametrize("compressions", [(None,), ("gzip",), (None, "zstd", None, "lz4"), ("snappy", None)])
def test_columns_are_the_records(compressions: tuple[str | None, ...]) -> None:
    data = b"".join(
        encode_batches(RECORDS, base_offset=len(RECORDS) * n, timestamp_ms=n, compression=compression)
        for n, compression in enumerate(compressions)
    )
    found = decode_batches(data)
    columns = found.columns()
    records = list(found)
    assert len(columns) == len(records) == len(found)
    assert columns.offsets.tolist() == [r.offset for r in records]
    assert columns.timestamps.tolist() == [r.timestamp_ms for r in records]
    assert [columns.key(i) for i in range(len(columns))] == [r.key for r in records]
    assert [columns.value(i) for i in range(len(columns))] == [r.value for r in records]
    nulls = [r.value is None for r in records]
    assert (columns.value_starts == -1).tolist() == nulls
    assert (columns.value_ends == -1).tolist() == nulls
    view = columns.buffer
    assert [
        None if a < 0 else bytes(view[a:b]) for a, b in zip(columns.key_starts, columns.key_ends, strict=True)
    ] == [r.key for r in records]
    assert (columns.buffer is found.buffer) == (set(compressions) == {None})


def test_columns_are_frozen_and_outlive_the_rest() -> None:
    columns = decode_batches(bytearray(encode_batches([b"a", b"b"]))).columns()
    offsets = columns.offsets
    with pytest.raises(ValueError, match="read-only"):
        offsets[0] = 5
    assert columns.offsets is offsets
    del columns
    assert offsets.tolist() == [0, 1]


def test_columns_have_no_record_outside() -> None:
    columns = decode_batches(encode_batches([b"a"])).columns()
    for i in (-1, 1):
        with pytest.raises(IndexError):
            columns.value(i)
        with pytest.raises(IndexError):
            columns.key(i)


def test_columns_together_stay_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "DECOMPRESSED_BYTES_MAX", 2_000_000)
    data = encode_batches([bytes(999_000)] * 3, compression="zstd", batch_bytes_max=1_000_000)
    with pytest.raises(UsageError, match="max_bytes"):
        decode_batches(data).columns()
    assert sum(1 for _ in decode_batches(data)) == 3


def test_decoding_imports_numpy_only_for_the_arrays() -> None:
    program = (
        "import sys; from kstore.records import *; b = decode_batches(encode_batches([b'a']));"
        "list(b); c = b.columns(); c.value(0); assert 'numpy' not in sys.modules; c.offsets;"
        "assert 'numpy' in sys.modules; assert 'cramjam' not in sys.modules; assert 'crc32c' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# -- damage ------------------------------------------------------------------------------------------------------


def every_way(batches: Batches) -> list[CorruptionError]:
    errors = []
    for way in (lambda: list(batches), lambda: list(batches.tuples()), batches.columns):
        with pytest.raises(CorruptionError) as raised:
            way()
        errors.append(raised.value)
    return errors


def test_damage_says_where_and_how_to_go_on() -> None:
    good = encode_batches([b"a", b"b"])
    damaged = bytearray(encode_batches([b"c", b"d"], base_offset=2))
    damaged[-3] ^= 4
    found = Batches(good + damaged + encode_batches([b"e"], base_offset=4), file="x.log", position=100)
    for error in every_way(found):
        assert (error.file, error.position) == ("x.log", 100 + len(good))
        assert (error.offset, error.next_offset) == (2, 4)
        assert "checksum" in error.reason
    records = iter(found)
    assert [next(records).offset for _ in range(2)] == [0, 1]  # what stands in front of the damage comes out
    with pytest.raises(CorruptionError):
        next(records)


def test_an_iterator_ends_at_damage() -> None:
    damaged = bytearray(encode_batches([b"c"]))
    damaged[-3] ^= 4
    records = iter(decode_batches(bytes(damaged) + encode_batches([b"e"], base_offset=1)))
    with pytest.raises(CorruptionError):
        next(records)
    assert list(records) == []


def test_a_batch_that_is_cut_short() -> None:
    data = encode_batches([b"a"]) + encode_batches([b"b"], base_offset=1)
    for size in range(len(data) // 2 + 1, len(data)):
        found = decode_batches(data[:size])
        for error in every_way(found):
            assert (error.position, error.file) == (len(data) // 2, "record batches")
        with pytest.raises(CorruptionError):
            len(found)
        with pytest.raises(CorruptionError):
            _ = found.next_offset


ONE = encode_batches([b"value"])


@pytest.mark.parametrize(
    "data",
    [
        with_crc(ONE + b"\0"),
        with_crc(ONE[:-1] + b"\2"),
        with_crc(ONE[:-1] + b"\x80"),
        edited(ONE, ">b", 61, 24),
        edited(ONE, ">b", 61, 20),
        edited(ONE, ">b", 61, 1),
        edited(ONE, ">b", 64, 1),  # offset delta -1
        edited(ONE, ">b", 64, 2),  # offset delta 1
        edited(ONE, ">b", 65, 60),  # the key passes the end
        edited(ONE, ">b", 66, 60),
        with_crc(encode_batches([b"a", b"b"])[:69] * 1),
        edited(encode_batches([b"a", b"b"]), ">b", 69 + 3, 0),  # the same offset twice
        edited(encode_batches([b"a", b"b"]), ">i", 57, 1),
    ],
)
def test_records_that_contradict_their_batch(data: bytes) -> None:
    for error in every_way(decode_batches(data)):
        assert (error.position, error.offset) == (0, 0) or "contradict" in error.reason


def compressed(section: bytes, count: int = 1, codec: int = 1) -> bytes:
    head = edited(encode_batches([b"x"])[:61], ">H", 21, codec)
    head = edited(head, ">i", 23, count - 1)
    return with_crc(edited(head, ">i", 57, count) + section)


@pytest.mark.parametrize(
    "data",
    [
        compressed(b""),
        compressed(b"no gzip at all"),
        compressed(gzip.compress(ONE[61:], mtime=0)[:-9]),
        compressed(gzip.compress(ONE[61:] * 2, mtime=0)),
        compressed(gzip.compress(ONE[61:], mtime=0), count=2),
        compressed(gzip.compress(ONE[61:], mtime=0), count=2**31 - 1),
        compressed(gzip.compress(ONE[61:], mtime=0), codec=2),
        compressed(gzip.compress(ONE[61:], mtime=0), codec=3),
        compressed(gzip.compress(ONE[61:], mtime=0), codec=4),
        compressed(gzip.compress(ONE[61:], mtime=0), codec=5),
        compressed(gzip.compress(ONE[61:], mtime=0), codec=7),
    ],
)
def test_bad_compressed_batches(data: bytes) -> None:
    for error in every_way(decode_batches(data)):
        assert (error.position, error.offset) == (0, 0) or "contradict" in error.reason


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_bomb_is_refused_before_it_takes_memory(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    limit = 2_000_000
    monkeypatch.setattr(batches, "DECOMPRESSED_BYTES_MAX", limit)
    data = compressed(bytes(compression.compress(codec, bytes(20 * limit))), codec=codec)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match="more than"):
            decode_batches(data).columns()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * limit  # zlib joins its pieces at the end


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_claim_of_many_records_takes_no_memory(codec: int) -> None:
    import tracemalloc

    data = compressed(bytes(compression.compress(codec, ONE[61:])), count=2**31 - 1, codec=codec)
    tracemalloc.start()
    try:
        every_way(decode_batches(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(data) + 65536


def test_encoded_markers_and_data_read_back_in_order() -> None:
    encoder = Encoder()
    encoder.encode([b"a"], producer_id=4, producer_epoch=0, base_sequence=0, transactional=True)
    data = bytes(encoder.buffer) + marker(1, 4, commit=False)
    kinds = [(r.offset, r.is_control, r.is_transactional) for r in decode_batches(data).records(control=True)]
    assert kinds == [(0, False, True), (1, True, True)]
