"""GATE: what goes the straight way ends as it would on the long way, and what may not go it is left untouched."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import kstore
from kstore._native import batch as native
from kstore._native.gate import Gate
from kstore._native.segment import Segment
from kstore._native.view import View
from kstore.log.appended import Appended
from kstore.log.disk import OsDisk

LIMITS: dict[str, int] = {
    "batch_bytes_max": 10_000,
    "segment_bytes": 20_000,
    "segment_ms": 1000,
    "refused_flags": native.HAS_PRODUCER,
}


def gate(**limits: int) -> Gate[Appended]:
    return Gate(Appended, **{**LIMITS, **limits})


@pytest.fixture
def active(tmp_path: Path) -> Segment:
    segment = Segment(OsDisk(), str(tmp_path), 0, writable=True)
    segment.create()
    return segment


def batch(records: int = 3, timestamp_ms: int = 5, **more: Any) -> bytes:
    return kstore.encode_batches([b"value"] * records, timestamp_ms=timestamp_ms, **more)


def empty_view(active: Segment) -> View:
    return View((active,), 0, 0, 0, 0)


def test_what_goes_through_is_stored_stamped_and_shown(active: Segment) -> None:
    before = empty_view(active)
    passed = gate().append(before, active, batch() + batch(2), 7)
    assert passed is not None
    after, done = passed
    assert done == Appended(0, 5, 5)
    assert type(done) is Appended
    assert (after.log_end_offset, after.high_watermark, after.last_stable_offset) == (5, 5, 5)
    assert after.end_position == active.size_bytes > before.end_position == 0
    assert [(h.base_offset, h.leader_epoch) for h in active.headers()] == [(0, 7), (3, 7)]
    encoded = kstore.encode_batches([b"more"], base_offset=5, leader_epoch=7, timestamp_ms=6)
    passed = gate().append_encoded(after, active, encoded, native.check(encoded, client=False))
    assert passed is not None
    assert passed[1] == Appended(5, 6, 6)
    assert bytes(active.read(after.end_position, active.size_bytes)) == encoded


@pytest.mark.parametrize(
    ("limits", "buffer"),
    [
        ({"batch_bytes_max": 80}, batch()),
        ({"segment_bytes": 80}, batch()),
        ({}, batch(producer_id=4, producer_epoch=0, base_sequence=0)),
    ],
    ids=["too large a batch", "larger than a segment", "a producer's"],
)
def test_what_needs_more_is_left_alone(active: Segment, limits: dict[str, int], buffer: bytes) -> None:
    assert gate(**limits).append(empty_view(active), active, buffer, 0) is None
    assert active.size_bytes == 0


def test_a_segment_that_has_to_roll_takes_nothing(active: Segment) -> None:
    view, _ = gate().append(empty_view(active), active, batch(), 0) or pytest.fail("it has room")
    size = active.size_bytes
    full, late = gate(segment_bytes=size + 10), batch(timestamp_ms=5 + 1001)
    assert full.append(view, active, batch(), 0) is None
    assert gate().append(view, active, late, 0) is None
    assert gate(segment_ms=1001).append(view, active, late, 0) is not None
    encoded = kstore.encode_batches([b"x"], base_offset=view.log_end_offset, timestamp_ms=5)
    info = native.check(encoded, client=False)
    assert gate(segment_bytes=size + 10).append_encoded(view, active, encoded, info) is None
    assert gate().append_encoded(empty_view(active), active, encoded, info) is None  # not at the end of that view


def test_a_bad_batch_is_named(active: Segment) -> None:
    bad = bytearray(batch())
    bad[-1] ^= 1
    with pytest.raises(kstore.InvalidBatch):
        gate().append(empty_view(active), active, bad, 0)
    assert active.size_bytes == 0


def test_both_ways_leave_the_same_files(tmp_path: Path, seed: int) -> None:
    def write(name: str, *, straight: bool) -> dict[str, bytes]:
        dice = random.Random(seed)
        topic = {"segment.ms": 5000, "internal.segment.bytes": 4000, "index.interval.bytes": 200}
        config = {"log.flush.scheduler.interval.ms": 0}
        with kstore.open(tmp_path / name, config=config) as store:
            store.create_topic("t", config=topic)
            log = store.partition("t", 0)
            now_ms = 0
            for _ in range(150):
                log.log._straight &= straight
                now_ms += dice.choice([0, 1, 10, 2000])
                values = [dice.randbytes(dice.randrange(200)) for _ in range(dice.randint(1, 6))]
                if dice.random() < 0.5:
                    log.append(values, timestamp_ms=now_ms)
                else:
                    log.append_batches(kstore.encode_batches(values, timestamp_ms=now_ms))
            segments = [segment.base_offset for segment in log.segments]
        assert len(segments) > 10
        directory = tmp_path / name / "t-0"
        return {p.name: p.read_bytes() for p in directory.iterdir() if p.suffix in {".log", ".index", ".timeindex"}}

    assert write("straight", straight=True) == write("long", straight=False)
