"""`Record` and the encoder."""

from __future__ import annotations

import struct

import pytest

from kstore import compression
from kstore._native import batch
from kstore._native.records import Encoder, Record
from kstore.errors import BatchTooLarge, UsageError
from kstore.records import decode_batches, encode_batches


def shapes(data: bytes) -> list[tuple[object, ...]]:
    return [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in decode_batches(data)]


# -- Record ------------------------------------------------------------------------------------------------------


def test_a_record_of_a_user_has_no_place_yet() -> None:
    record = Record(b"v", b"k", [("h", b"1"), ("h", None)], 5)
    assert (record.value, record.key, record.headers) == (b"v", b"k", (("h", b"1"), ("h", None)))
    assert (record.timestamp_ms, record.timestamp_type, record.offset) == (5, "CreateTime", -1)
    assert (record.leader_epoch, record.producer_id, record.producer_epoch, record.sequence) == (-1, -1, -1, -1)
    assert (record.batch, record.size_bytes, record.is_control, record.is_transactional) == (None, -1, False, False)
    assert Record(None).timestamp_ms is None


def test_records_compare_by_what_they_hold() -> None:
    assert Record(b"v", b"k") == Record(b"v", b"k")
    assert hash(Record(b"v", b"k")) == hash(Record(b"v", b"k"))
    assert Record(b"v") != Record(b"w")
    assert Record(b"v", timestamp_ms=1) != Record(b"v")
    assert Record(b"v") != b"v"
    assert "b'v'" in repr(Record(b"v"))


def test_a_record_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Record(b"v").value = b"w"  # type: ignore[misc]


def test_buffers_become_bytes_and_headers_may_be_a_mapping() -> None:
    own = bytearray(b"v")
    record = Record(own, memoryview(b"k"), {"h": bytearray(b"1")})
    own[0] = 0
    assert (record.value, record.key, record.headers) == (b"v", b"k", (("h", b"1"),))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text",), "encode it"),
        ((b"v", "text"), "encode it"),
        ((1,), "not int"),
        ((b"v", None, [("h", "text")]), "encode it"),
        ((b"v", None, [(b"h", b"v")]), "name of a header is str"),
        ((b"v", None, ["h"]), "pair"),
        ((b"v", None, "hv"), "not str"),
        ((b"v", None, [("a", b"b", b"c")]), "pair"),
    ],
)
def test_wrong_types_say_what_is_right(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Record(*arguments)  # type: ignore[arg-type]


# -- what an encoder takes ---------------------------------------------------------------------------------------


def test_every_shape_of_a_record() -> None:
    data = encode_batches(
        [
            b"value",
            (b"key", b"value"),
            (b"key", None),
            (None, b"value", [("h", b"1"), ("", None), ("h", b"")]),
            Record(b"value", b"key", [("é", b"x")], timestamp_ms=9),
            Record(None),
            bytearray(b"value"),
            memoryview(b"value"),
            b"",
            (b"", b""),
        ],
        timestamp_ms=5,
        base_offset=100,
    )
    assert shapes(data) == [
        (100, 5, None, b"value", ()),
        (101, 5, b"key", b"value", ()),
        (102, 5, b"key", None, ()),
        (103, 5, None, b"value", (("h", b"1"), ("", None), ("h", b""))),
        (104, 9, b"key", b"value", (("é", b"x"),)),
        (105, 5, None, None, ()),
        (106, 5, None, b"value", ()),
        (107, 5, None, b"value", ()),
        (108, 5, None, b"", ()),
        (109, 5, b"", b"", ()),
    ]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (b"bytes", "not one"),
        ("text", "not one"),
        (["text"], "encode it"),
        ([("key", b"v")], "encode it"),
        ([b"ok", 7], "not int"),
        ([None], "tombstone"),
        ([(b"k",)], "not 1 items"),
        ([(b"k", b"v", (), 5)], "not 4 items"),
        ([(b"k", b"v", [("h", 5)])], "not int"),
        ([(b"k", b"v", [("\ud800\udc00", b"")])], "Unicode"),
        ([[b"k", b"v"]], "not list"),
    ],
)
def test_wrong_records_say_what_is_right(records: object, message: str) -> None:
    encoder = Encoder()
    with pytest.raises(UsageError, match=message):
        encoder.encode(records)  # type: ignore[arg-type]
    assert len(encoder.buffer) == 0
    assert encoder.encode([b"still works"]).records == 1


def test_an_iterable_that_fails_leaves_the_encoder_usable() -> None:
    def records() -> object:
        yield b"one"
        raise RuntimeError("source is gone")

    encoder = Encoder()
    with pytest.raises(RuntimeError, match="gone"):
        encoder.encode(records())  # type: ignore[arg-type]
    assert encoder.encode(iter([b"one"])).records == 1


def test_no_records_give_no_batch() -> None:
    encoder = Encoder()
    info = encoder.encode([])
    assert (info.batches, info.records, len(encoder.buffer), info.max_timestamp_ms) == (0, 0, 0, -1)
    assert encode_batches(()) == b""


def test_header_names_that_are_not_utf8_come_back_as_they_were() -> None:
    odd = b"\xff\xfe name".decode("utf-8", "surrogateescape")
    (record,) = decode_batches(encode_batches([(None, b"v", [(odd, b"")])]))
    assert record.headers == ((odd, b""),)
    assert encode_batches([(None, b"v", [(odd, b"")])]).count(b"\xff\xfe name") == 1
    assert encode_batches([record]) == encode_batches([(None, b"v", [(odd, b"")])])


# -- what comes out ----------------------------------------------------------------------------------------------


def test_info_is_what_a_check_of_the_output_says() -> None:
    encoder = Encoder()
    made = encoder.encode(
        [b"x" * 500] * 100, base_offset=7, leader_epoch=3, timestamp_ms=4, batch_bytes_max=5000, producer_id=1,
        producer_epoch=0, base_sequence=0, transactional=True,
    )
    checked = batch.check(encoder.buffer, records=True)
    names = [name for name in dir(made) if not name.startswith("_")]
    assert {name: getattr(made, name) for name in names} == {name: getattr(checked, name) for name in names}
    assert (made.first_offset, made.next_offset, made.batches) == (7, 107, 12)


def test_batches_end_exactly_at_the_limit() -> None:
    one = len(encode_batches([b"x" * 50]))
    two = len(encode_batches([b"x" * 50] * 2))
    for shape in (b"x" * 50, (None, b"x" * 50), (None, b"x" * 50, []), Record(b"x" * 50)):
        sizes = [h.size_bytes for h in batch.headers(encode_batches([shape] * 5, batch_bytes_max=two))]
        assert sizes == [two, two, one], shape
        sizes = [h.size_bytes for h in batch.headers(encode_batches([shape] * 3, batch_bytes_max=two - 1))]
        assert sizes == [one] * 3, shape
        with pytest.raises(BatchTooLarge) as raised:
            encode_batches([shape] * 3, batch_bytes_max=one - 1)
        assert (raised.value.size_bytes, raised.value.limit_bytes) == (one, one - 1)


def test_splitting_keeps_offsets_timestamps_and_sequences_going() -> None:
    records = [Record(b"x" * 30, timestamp_ms=t) for t in (50, 10, 90, 20, 70, 30)]
    data = encode_batches(
        records, base_offset=4, batch_bytes_max=150, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2
    )
    headers = list(batch.headers(data))
    assert [(h.base_offset, h.base_sequence, h.base_timestamp_ms, h.max_timestamp_ms) for h in headers] == [
        (4, 2**31 - 2, 50, 50),
        (6, 0, 90, 90),
        (8, 2, 70, 70),
    ]
    assert [(r.offset, r.timestamp_ms, r.sequence) for r in decode_batches(data)] == [
        (4, 50, 2**31 - 2), (5, 10, 2**31 - 1), (6, 90, 0), (7, 20, 1), (8, 70, 2), (9, 30, 3),
    ]


def test_a_large_record_gets_a_batch_of_its_own_unless_a_limit_was_given() -> None:
    large = b"x" * 2_000_000
    data = encode_batches([b"a", large, b"b"])
    assert [h.records for h in batch.headers(data)] == [1, 1, 1]
    assert [r.value for r in decode_batches(data)] == [b"a", large, b"b"]
    with pytest.raises(BatchTooLarge, match=r"max\.message\.bytes=1048588"):
        encode_batches([b"a", large, b"b"], batch_bytes_max=1048588)


@pytest.mark.parametrize(
    ("timestamps", "base", "largest"),
    [
        ([5, 3, 9], 5, 9),
        ([-5, -3], -5, -1),
        ([-1], -1, -1),
        ([2**63 - 1, -(2**63)], 2**63 - 1, 2**63 - 1),
        ([-(2**63), 2**63 - 1, 0], -(2**63), 2**63 - 1),
    ],
)
def test_timestamps(timestamps: list[int], base: int, largest: int) -> None:
    data = encode_batches([Record(b"v", timestamp_ms=t) for t in timestamps])
    header = next(batch.headers(data))
    assert (header.base_timestamp_ms, header.max_timestamp_ms) == (base, largest)
    assert [r.timestamp_ms for r in decode_batches(data)] == timestamps


def test_values_of_every_size_around_the_steps_of_a_varint() -> None:
    sizes = [0, 1, 50, 55, 56, 57, 58, 62, 63, 64, 65, 8100, 8180, 8181, 8182, 8185, 8191, 8192, 8193, 1_100_000]
    values = [bytes([n % 256]) * size for n, size in enumerate(sizes * 5)]
    for records in (values, [(v, v) for v in values], [(None, v, [("h", v)]) for v in values]):
        data = encode_batches(records)
        assert batch.check(data, records=True).records == len(values)
        assert [r.value for r in decode_batches(data)] == values
    many = [b"%d" % n for n in range(20_000)]  # offset deltas of one, two and three bytes
    assert [r.value for r in decode_batches(encode_batches(many))] == many


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches(codec: str) -> None:
    values = [b"value %06d" % n for n in range(5000)]
    data = encode_batches(values, compression=codec, batch_bytes_max=20_000)
    assert batch.check(data, records=True).codecs == 1 << compression.codec_id(codec)
    assert len(data) < 60_000
    assert [r.value for r in decode_batches(data)] == values


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_its_codec_makes_too_large_is_stored_as_it_is(codec: str) -> None:
    import random

    noise = random.Random(1).randbytes(1000)
    plain = len(encode_batches([noise]))
    (header,) = batch.headers(encode_batches([noise], compression=codec, batch_bytes_max=plain))
    assert (header.codec, header.size_bytes) == (0, plain)
    (header,) = batch.headers(encode_batches([bytes(5000)], compression=codec, batch_bytes_max=plain))
    assert header.codec == compression.codec_id(codec)  # alone above the limit, but not once it is packed
    with pytest.raises(BatchTooLarge):
        encode_batches([noise * 2], compression=codec, batch_bytes_max=plain)


def test_levels_reach_the_codec() -> None:
    value = [b"".join(b"%d," % (n * n % 1009) for n in range(20_000))]
    assert len(encode_batches(value, compression="gzip", level=9)) < len(
        encode_batches(value, compression="gzip", level=1)
    )


# -- its memory --------------------------------------------------------------------------------------------------


def test_a_buffer_that_is_held_never_changes() -> None:
    encoder = Encoder()
    encoder.encode([b"first" * 10])
    held = encoder.buffer
    before = bytes(held)
    encoder.encode([b"second" * 100_000])
    assert bytes(held) == before
    assert b"second" in bytes(encoder.buffer)
    assert held.readonly


def test_an_encoder_refuses_to_be_used_from_within() -> None:
    encoder = Encoder()

    class Evil(list):  # type: ignore[type-arg]
        def __iter__(self) -> object:  # type: ignore[override]
            yield ("name", b"")
            encoder.encode([b"inner"])

    with pytest.raises(UsageError, match="at work"):
        encoder.encode([(b"k", b"v", Evil([1]))])


def test_a_list_that_shrinks_while_it_is_encoded() -> None:
    records: list[object] = []

    class Evil(list):  # type: ignore[type-arg]
        def __iter__(self) -> object:  # type: ignore[override]
            records.clear()
            return iter([("h", b"")])

    records += [b"one", (b"k", b"v", Evil([1])), *[b"gone"] * 1000]
    assert Encoder().encode(records).records == 2


@pytest.mark.parametrize("field", [{"base_offset": -1}, {"base_offset": 2**63 - 1}, {"producer_id": 1}])
def test_header_fields_that_no_batch_has(field: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        encode_batches([b"v"], **field)  # type: ignore[arg-type]


def test_a_control_batch_from_the_encoder() -> None:
    encoder = Encoder()
    key = struct.pack(">hh", 0, 2)
    encoder.encode([(key, b"leader")], control=True, leader_epoch=4)
    (record,) = decode_batches(encoder.buffer).records(control=True)
    assert (record.is_control, record.key, record.leader_epoch) == (True, key, 4)
