"""Every lookup through indexes equals a full scan, whatever single bit of an index file is flipped or cut off."""

from __future__ import annotations

import os
import random

import pytest

from kstore._native.segment import Segment
from kstore.log.disk import OsDisk
from support.segment_model import SegmentModel

KINDS = ("index", "timeindex")


def log_with(directory, rng, *, stamps, batches=40):
    """A sealed segment with many entries in both indexes; `stamps`: how timestamps run."""
    model = SegmentModel.create(directory, 1000, index_interval_bytes=100)
    for i in range(batches):
        one = {"rising": i * 10, "equal": 7, "shuffled": rng.randrange(300), "stairs": i // 8 * 50}[stamps]
        model.append([one] * rng.randint(1, 3), value_bytes=rng.choice([5, 60]))
    model.segment.close()
    return model


def agrees(model, segment):
    """All offsets, and the timestamps where an answer changes."""
    for offset in range(1000, model.next_offset):
        assert segment.locate(offset) == model.locate(offset), offset
    for stamp in sorted({s + d for b in model.batches for s in b.timestamps for d in (0, 1)}):
        assert segment.offset_for_timestamp(stamp) == model.offset_for_timestamp(stamp), stamp
    assert segment.max_timestamp_ms == max(s for b in model.batches for s in b.timestamps)
    assert segment.next_offset == model.next_offset


def opened(model, *, writable):
    return Segment(
        OsDisk(), model.segment.directory, 1000, index_interval_bytes=100, writable=writable, mapped=writable
    )


@pytest.mark.parametrize("stamps", ["rising", "equal", "shuffled", "stairs"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_an_index(tmp_path, seed, stamps, kind):
    model = log_with(tmp_path, random.Random(seed), stamps=stamps)
    path = model.segment.path.removesuffix("log") + kind
    whole = OsDisk().read_file(path)
    rebuilt = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with open(path, "wb") as file:
            file.write(flipped)
        segment = opened(model, writable=False)
        agrees(model, segment)
        rebuilt += segment.index_rebuilds
        assert segment.index_rebuilds <= 1
        assert OsDisk().read_file(path) == flipped  # opened to be read: not a byte changes
    assert rebuilt > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_lying_index_is_made_anew_once_and_kept(tmp_path, seed, kind):
    model = log_with(tmp_path, random.Random(seed), stamps="shuffled")
    path = model.segment.path.removesuffix("log") + kind
    whole = OsDisk().read_file(path)
    with open(path, "wb") as file:
        file.write(bytes([whole[0] ^ 0x80]) + whole[1:])
    first, second = opened(model, writable=True), opened(model, writable=True)
    agrees(model, first)
    agrees(model, second)
    assert (first.index_rebuilds, second.index_rebuilds) == (1, 0)
    assert OsDisk().read_file(path) == whole


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stamps", ["rising", "shuffled", "equal"])
def test_every_cut_and_the_loss_of_an_index(tmp_path, seed, kind, stamps):
    model = log_with(tmp_path, random.Random(seed), stamps=stamps)
    path = model.segment.path.removesuffix("log") + kind
    whole = OsDisk().read_file(path)
    for length in range(len(whole)):
        with open(path, "wb") as file:
            file.write(whole[:length])
        agrees(model, opened(model, writable=False))
    os.unlink(path)
    segment = opened(model, writable=True)
    agrees(model, segment)
    assert segment.index_rebuilds == 1
    assert OsDisk().read_file(path) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_behind_the_entries_are_no_entries(tmp_path, seed, kind):
    model = log_with(tmp_path, random.Random(seed), stamps="rising")
    path = model.segment.path.removesuffix("log") + kind
    whole = OsDisk().read_file(path)
    with open(path, "ab") as file:
        file.write(bytes(2400))
    segment = opened(model, writable=True)
    agrees(model, segment)
    assert segment.index_rebuilds == 1
    assert OsDisk().read_file(path) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_flip_under_an_open_segment(tmp_path, seed, kind):
    """Reopened after a clean stop, it trusts the files no more than a reader does."""
    rng = random.Random(seed)
    model = log_with(tmp_path, rng, stamps="stairs")
    path = model.segment.path.removesuffix("log") + kind
    whole = OsDisk().read_file(path)
    for bit in rng.sample(range(8 * len(whole)), 60):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with open(path, "wb") as file:
            file.write(flipped)
        segment = opened(model, writable=True)
        segment.open_for_append()
        agrees(model, segment)
        segment.abandon()
        with open(path, "wb") as file:
            file.write(whole)


def test_a_time_entry_that_names_another_batch_with_its_timestamp(tmp_path):
    """The batch confirms the flipped entry, and yet a larger timestamp lies before it: the walk begins early enough."""
    model = SegmentModel.create(tmp_path, 1000)
    for stamp, value_bytes in [
        (10, 5000),
        (20, 5000),
        (30, 9),
        (40, 5000),
        (100, 9),
        (105, 9),
        (100, 9),
        (200, 5000),
        (1, 9),
    ]:
        model.append([stamp], value_bytes=value_bytes)
    model.segment.close()
    path = model.segment.path.removesuffix("log") + "timeindex"
    entries = OsDisk().read_file(path)
    one = (100).to_bytes(8) + (4).to_bytes(4)
    assert one in entries
    with open(path, "wb") as file:
        file.write(entries.replace(one, (100).to_bytes(8) + (6).to_bytes(4)))
    segment = opened(model, writable=False)
    assert segment.offset_for_timestamp(103) == (1005, 105)
    agrees(model, segment)
    assert segment.index_rebuilds == 0
