"""What fits a pattern and what does not, and that nothing is taken before it is done."""

from __future__ import annotations

import struct

import pytest

import kstore
from kstore._native.repeats import Ask, FetchPattern, Pattern, Patterns, Run
from kstore._native.stream import FrameReader
from kstore.errors import UsageError
from support.alike import ANSWER, ANSWER_OF, CORRELATION, OPENING, frame, patterns, varint


def reader_of(*frames: bytes) -> FrameReader:
    """A reader that has received the frames, or as many of them as it takes before one is taken."""
    reader = FrameReader(1 << 20)
    stream = b"".join(CORRELATION.pack(len(one)) + one for one in frames)
    while stream:
        try:
            room = reader.get_buffer()
        except UsageError:
            break
        count = min(len(room), len(stream))
        room[:count] = stream[:count]
        reader.buffer_updated(count)
        stream = stream[count:]
    return reader


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("size", [0, 40, 100, 9_000, 60_000, 100_000])
def test_one_that_fits(compact: bool, size: int) -> None:
    records = kstore.encode_batches([bytes(size), b"b"])
    reader = reader_of(frame(records, 7, compact=compact), *([b"another"] if size < 40_000 else []))
    run = patterns(compact=compact).gather(reader)
    assert isinstance(run, Run)
    assert (bytes(memoryview(run)), run.count, run.offsets, run.correlation_ids) == (records, 1, 2, [7])
    assert ANSWER_OF.unpack(run.answers(5, -1, 3)) == (28, 7, 5, -1, 3)
    run.done()
    assert reader.next_frame() == (b"another" if size < 40_000 else None)
    assert reader.is_between_frames


def test_several_are_one_run() -> None:
    batches = [kstore.encode_batches([b"%d" % i] * (i + 1)) for i in range(5)]
    reader = reader_of(*(frame(one, 10 + i) for i, one in enumerate(batches)), b"another")
    run = patterns().gather(reader)
    assert isinstance(run, Run)
    assert bytes(memoryview(run)) == b"".join(batches)
    assert run.offsets == 15
    answers = list(ANSWER_OF.iter_unpack(run.answers(100, 4, 2)))
    assert answers == [(28, 10 + i, base, 4, 2) for i, base in enumerate([100, 101, 103, 106, 110])]
    run.done()
    assert reader.next_frame() == b"another"


def test_what_is_not_done_is_still_there() -> None:
    records = kstore.encode_batches([b"x"])
    reader = reader_of(frame(records, 1), frame(records, 2))
    run = patterns().gather(reader)
    assert isinstance(run, Run)
    assert run.count == 2
    assert [bytes(reader.next_frame() or b"") for _ in range(2)] == [frame(records, 1), frame(records, 2)]


def test_a_run_ends_before_what_does_not_fit_and_what_is_too_much() -> None:
    small, large = kstore.encode_batches([b"x"]), kstore.encode_batches([bytes(40_000)])
    run = patterns().gather(reader_of(frame(small), frame(small, prefix=b"CLIENT and topic"), frame(small)))
    assert isinstance(run, Run)
    assert run.count == 1
    run = patterns().gather(reader_of(frame(large), frame(large), frame(large)))
    assert isinstance(run, Run)
    assert run.count == 1
    run = patterns().gather(reader_of(*(frame(small) for _ in range(100))))
    assert isinstance(run, Run)
    assert run.count == 64


def test_batches_that_are_counted_go_one_by_one() -> None:
    counted = [kstore.encode_batches([b"x"], producer_id=5, producer_epoch=0, base_sequence=i) for i in range(3)]
    reader = reader_of(frame(GOOD), frame(GOOD), *map(frame, counted), frame(GOOD))
    known, counts = patterns(), []
    while (run := known.gather(reader)) is not None:
        counts.append(run.count)
        run.done()
    assert counts == [2, 1, 1, 1, 1]


def changed(data: bytes, place: int, mask: int) -> bytes:
    one = bytearray(data)
    one[place] ^= mask
    return bytes(one)


GOOD = kstore.encode_batches([b"x" * 40])


@pytest.mark.parametrize(
    "other",
    [
        frame(GOOD, opening=b"\0\0\0\x08"),
        frame(GOOD, prefix=b"client and topik"),
        frame(GOOD, prefix=b"client and topics"),
        frame(GOOD, suffix=b"\0\0\1"),
        frame(GOOD, suffix=b"\0\0"),
        frame(GOOD, suffix=b"\0\0\0\0"),
        frame(GOOD, length=b"\0"),
        frame(GOOD, length=varint(len(GOOD))),
        frame(GOOD, length=varint(len(GOOD) + 2)),
        frame(GOOD, length=b"\xff\xff\xff\xff\xff"),
        frame(GOOD + GOOD),
        frame(b""),
        frame(GOOD[:40]),
        frame(changed(GOOD, 22, 0x10)),
        frame(changed(GOOD, 22, 0x20)),
        frame(changed(GOOD, 16, 1)),
        frame(kstore.encode_batches([b"x"], producer_id=5, producer_epoch=0, base_sequence=0, transactional=True)),
        OPENING,
        b"x",
    ],
)
def test_what_does_not_fit_is_left(other: bytes) -> None:
    reader = reader_of(other)
    assert patterns().gather(reader) is None
    assert reader.next_frame() == other


def test_a_codec_may_be_refused() -> None:
    gzipped = kstore.encode_batches([b"x" * 400], compression="gzip")
    assert patterns().gather(reader_of(frame(gzipped))) is not None
    assert patterns(refused_codec=1).gather(reader_of(frame(gzipped))) is None
    assert patterns(refused_codec=1).gather(reader_of(frame(GOOD))) is not None


def test_what_has_not_come_to_its_end_is_left() -> None:
    whole = CORRELATION.pack(len(frame(GOOD))) + frame(GOOD)
    for count in (0, 3, 4, 20, len(whole) - 1):
        reader = FrameReader(1 << 20)
        room = reader.get_buffer()
        room[:count] = whole[:count]
        reader.buffer_updated(count)
        assert patterns().gather(reader) is None


def test_frames_above_the_limit_are_the_readers_to_refuse() -> None:
    reader = reader_of(frame(GOOD))
    reader.limit_bytes = 10
    assert patterns().gather(reader) is None


def test_patterns_that_are_not_used_are_forgotten() -> None:
    known = patterns()
    for number in range(100):
        whole = memoryview(frame(GOOD, prefix=b"topic %03d" % number))
        at = bytes(whole).index(GOOD)
        known.learn(
            Pattern(
                number, whole, whole[at : at + len(GOOD)], compact=True, answer=ANSWER, base_offset_at=8,
                append_time_at=16, log_start_at=-1, refused_codec=-1,
            )
        )  # fmt: skip
        used = known.gather(reader_of(frame(GOOD)))
        assert isinstance(used, Run), "the one that is used stays"
        assert used.pattern.target == "target"
    assert len(known) == 32
    assert known.gather(reader_of(frame(GOOD, prefix=b"topic 000"))) is None
    newest = known.gather(reader_of(frame(GOOD, prefix=b"topic 099")))
    assert newest is not None
    assert newest.pattern.target == 99


def test_places_outside_the_answer_are_refused() -> None:
    whole = memoryview(frame(GOOD))
    at = bytes(whole).index(GOOD)
    with pytest.raises(UsageError, match="outside an answer"):
        Pattern("t", whole, whole[at : at + len(GOOD)], compact=True, answer=ANSWER, base_offset_at=25,
                append_time_at=-1, log_start_at=-1, refused_codec=-1)  # fmt: skip
    with pytest.raises(UsageError, match="no part of the frame"):
        Pattern("t", whole, memoryview(bytes(GOOD)), compact=True, answer=ANSWER, base_offset_at=8,
                append_time_at=-1, log_start_at=-1, refused_codec=-1)  # fmt: skip


# -- fetches -----------------------------------------------------------------------------------------------------

FETCH_OPENING = b"\0\1\0\x0c"
OFFSET = struct.Struct(">q")
HEAD = CORRELATION.pack(0) + CORRELATION.pack(0) + b"head" + b"\0" * 24


def fetch_frame(offset: int, number: int = 1, *, before: bytes = b"topic", behind: bytes = b"limits") -> bytes:
    return FETCH_OPENING + CORRELATION.pack(number) + before + OFFSET.pack(offset) + behind


def fetch_patterns(*, compact: bool = True, tail: bytes = b"\0\0") -> Patterns:
    known = Patterns()
    known.learn(
        FetchPattern(
            "fetched", fetch_frame(5), offset_at=13, compact=compact, head=HEAD, tail=tail, high_watermark_at=12,
            last_stable_at=20, log_start_at=28,
        )
    )  # fmt: skip
    return known


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 16_382, 16_383, 1 << 20])
def test_a_fetch_that_fits_is_answered(compact: bool, size: int) -> None:
    reader = reader_of(fetch_frame(1 << 40, 7), b"another")
    ask = fetch_patterns(compact=compact).gather(reader)
    assert isinstance(ask, Ask)
    assert (ask.offset, ask.count, ask.frames_bytes) == (1 << 40, 1, len(fetch_frame(0)))
    records = memoryview(bytes(size))
    pieces = ask.answer(records, 30, 20, 10)
    assert pieces[1] is records
    whole = b"".join(pieces)
    length = varint(size + 1) if compact else CORRELATION.pack(size)
    expected = CORRELATION.pack(7) + b"head" + OFFSET.pack(30) + OFFSET.pack(20) + OFFSET.pack(10) + length
    assert whole == CORRELATION.pack(len(whole) - 4) + expected + bytes(size) + b"\0\0"
    ask.done()
    assert reader.next_frame() == b"another"


def test_a_place_that_a_version_has_not_is_left_alone() -> None:
    known = Patterns()
    known.learn(
        FetchPattern(
            "fetched", fetch_frame(5), offset_at=13, compact=False, head=HEAD, tail=b"", high_watermark_at=12,
            last_stable_at=20, log_start_at=-1,
        )
    )  # fmt: skip
    ask = known.gather(reader_of(fetch_frame(3)))
    assert isinstance(ask, Ask)
    whole = b"".join(ask.answer(memoryview(b""), 30, 20, 10))
    assert whole[28:36] == bytes(8)
    assert len(whole) == len(HEAD) + 4


@pytest.mark.parametrize(
    "other",
    [
        fetch_frame(5, before=b"topik"),
        fetch_frame(5, behind=b"limitz"),
        fetch_frame(5, behind=b"limits\0"),
        fetch_frame(5)[:-1],
        b"\0\1\0\x0b" + fetch_frame(5)[4:],
        b"x",
    ],
)
def test_a_fetch_that_does_not_fit_is_left(other: bytes) -> None:
    reader = reader_of(other)
    assert fetch_patterns().gather(reader) is None
    assert reader.next_frame() == other


def test_a_fetch_that_is_not_done_is_still_there() -> None:
    reader = reader_of(fetch_frame(1), fetch_frame(2))
    assert isinstance(fetch_patterns().gather(reader), Ask)
    assert [bytes(reader.next_frame() or b"") for _ in range(2)] == [fetch_frame(1), fetch_frame(2)]


def test_produce_and_fetch_are_told_apart() -> None:
    known = patterns()
    known.learn(
        FetchPattern(
            "fetched", fetch_frame(5), offset_at=13, compact=False, head=HEAD, tail=b"", high_watermark_at=12,
            last_stable_at=20, log_start_at=28,
        )
    )  # fmt: skip
    reader = reader_of(frame(GOOD), fetch_frame(9), frame(GOOD))
    kinds = []
    while (found := known.gather(reader)) is not None:
        kinds.append(found.pattern.target)
        found.done()
    assert kinds == ["target", "fetched", "target"]


@pytest.mark.parametrize("places", [{"offset_at": 7}, {"offset_at": 20}, {"log_start_at": 29}])
def test_places_outside_a_fetch_are_refused(places: dict[str, int]) -> None:
    given = {"offset_at": 13, "high_watermark_at": 12, "last_stable_at": 20, "log_start_at": 28, **places}
    with pytest.raises(UsageError, match="outside"):
        FetchPattern("fetched", fetch_frame(5), compact=False, head=HEAD, tail=b"", **given)
