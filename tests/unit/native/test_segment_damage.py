"""Damage in the log, and recovery from it: what is raised, put aside, jumped over, and where recovery stops."""

from __future__ import annotations

import random

import pytest

from kstore._native.segment import Range, Segment
from kstore.errors import CorruptionError
from kstore.log.disk import OsDisk
from support.failing_disk import FailingDisk
from support.segment_model import SegmentModel, check_lookups, encode


def stored(directory, base_offset=0, **options):
    return Segment(OsDisk(), str(directory), base_offset, **{"writable": True, **options})


def sealed(directory, groups, *, value_bytes=50, base_offset=0, **options):
    model = SegmentModel.create(directory, base_offset, **options)
    for group in groups:
        model.append(group, value_bytes=value_bytes)
    model.segment.close()
    return model


def harm(model, position, change):
    """Replace one byte of the log file by what `change` makes of it."""
    with open(model.segment.path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([change(byte)]))


def test_a_walk_that_meets_damage_says_where_and_which_offset(tmp_path):
    model = sealed(tmp_path, [[1, 2]] * 6)
    third = model.batches[2]
    harm(model, third.position + 16, lambda magic: 9)
    segment = stored(tmp_path)
    assert segment.locate(3) == model.locate(3)
    with pytest.raises(CorruptionError) as caught:
        segment.locate(5)
    assert caught.value.file == segment.path
    assert (caught.value.position, caught.value.offset) == (third.position, 4)


def test_scan_quarantine_and_read_around(tmp_path, seed):
    rng = random.Random(seed)
    model = sealed(tmp_path, [[i, i + 1] for i in range(60)], index_interval_bytes=300)
    bad = rng.randrange(1, 59)
    harm(model, model.batches[bad].position + 70, lambda byte: byte ^ 1)
    segment = stored(tmp_path)
    found = segment.scan_damage(model.next_offset, dense=True)
    broken = model.batches[bad]
    expected = Range(broken.position, broken.end_position, broken.base_offset, broken.next_offset, found.bad[0].reason)
    assert found.bad == [expected]
    assert "checksum" in found.bad[0].reason
    assert [(g.position, g.end_position, g.first_offset, g.next_offset) for g in found.good] == [
        (0, broken.position, 0, broken.base_offset),
        (broken.end_position, len(model.data), broken.next_offset, model.next_offset),
    ]
    segment.set_quarantine(found.bad)
    view = model.view(segment)
    for batch in model.batches:
        for offset in range(batch.base_offset, batch.next_offset):
            if batch is broken:
                with pytest.raises(CorruptionError) as caught:
                    view.read(offset, 10**6, model.next_offset)
                assert (caught.value.offset, caught.value.next_offset) == (broken.base_offset, broken.next_offset)
            else:
                read = bytes(view.read(offset, 10**6, model.next_offset).buffer)
                end = broken.position if batch.position < broken.position else len(model.data)
                assert read == model.data[batch.position : end]
    assert [h.base_offset for h in segment.headers()] == [b.base_offset for b in model.batches if b is not broken]
    assert segment.next_offset == model.next_offset
    assert segment.max_timestamp_ms == (60 if bad < 59 else 59)
    good = [b for b in model.batches if b is not broken]
    for stamp in range(62):
        expected = next(((b.base_offset + i, s) for b in good for i, s in enumerate(b.timestamps) if s >= stamp), None)
        assert segment.offset_for_timestamp(stamp) == expected


def test_every_header_bit_is_noticed_and_costs_one_batch(tmp_path):
    """In a log that was never compacted each single flipped bit of a header is found, and nothing else is given up."""
    model = sealed(tmp_path, [[5, 6, 7]] * 5)
    data, middle = bytearray(model.data), model.batches[2]
    for bit in range(8 * 61):
        byte = middle.position + bit // 8
        data[byte] ^= 1 << bit % 8
        with open(model.segment.path, "wb") as file:
            file.write(data)
        data[byte] ^= 1 << bit % 8
        found = stored(tmp_path).scan_damage(model.next_offset, dense=True)
        harmless_alone = 12 <= bit // 8 < 16 and not found.bad
        if harmless_alone:  # a leader epoch above the one before it is only seen by the epochs of the whole log
            continue
        assert [(r.position, r.end_position) for r in found.bad] == [(middle.position, middle.end_position)], bit
        assert [(r.first_offset, r.next_offset) for r in found.bad] == [(6, 9)], bit


def test_a_base_offset_flipped_upwards_is_not_read_as_a_hole(tmp_path):
    model = sealed(tmp_path, [[5, 6]] * 5)
    for number, batch in enumerate(model.batches):
        harm(model, batch.position + 7, lambda low: low ^ 0x40)
        view = model.view(stored(tmp_path))
        with pytest.raises(CorruptionError) as caught:
            view.read(batch.base_offset, 10**6, model.next_offset)
        assert caught.value.position == batch.position
        before = bytes(view.read(0, 10**6, model.next_offset).buffer) if number else b""
        assert before == model.data[: batch.position]
        harm(model, batch.position + 7, lambda low: low ^ 0x40)


def test_a_batch_carried_as_a_value_is_not_taken_for_one_of_the_log(tmp_path):
    """Behind a broken length the next good batch is looked for byte by byte; a nested one must not be found."""
    model = SegmentModel.create(tmp_path)
    model.append([1], [2])
    nested = encode([7], base_offset=3, leader_epoch=3, value_bytes=30)
    carrier = encode([9], base_offset=2, leader_epoch=3)
    assert len(nested) < 200
    from kstore._native.records import Record
    from kstore.records import encode_batches

    carrier = encode_batches([Record(b"x" + nested + b"y" * 40, timestamp_ms=9)], base_offset=2, leader_epoch=3)
    import kstore._native.batch as native

    model.segment.append_stamped(carrier, native.check(carrier))
    position = len(model.data)
    tail = encode([11], base_offset=3, leader_epoch=3)
    model.segment.append_stamped(tail, native.check(tail))
    model.segment.close()
    harm(model, position + 10, lambda length: length ^ 0x20)
    found = stored(tmp_path).scan_damage(4)
    assert [(r.position, r.end_position) for r in found.bad] == [(position, position + len(carrier))]


def test_zeros_inside_and_garbage_between(tmp_path, seed):
    rng = random.Random(seed)
    model = sealed(tmp_path, [[i] for i in range(20)], value_bytes=500)
    lost = model.batches[7:12]
    for filler in (bytes(sum(len(b.data) for b in lost)), rng.randbytes(sum(len(b.data) for b in lost))):
        with open(model.segment.path, "r+b") as file:
            file.seek(lost[0].position)
            file.write(filler)
        found = stored(tmp_path).scan_damage(model.next_offset, dense=True)
        assert [(r.position, r.end_position, r.first_offset, r.next_offset) for r in found.bad] == [
            (lost[0].position, lost[-1].end_position, 7, 12)
        ]


def test_hostile_bytes_cost_bounded_work(tmp_path):
    """Every byte the possible start of a large batch: the scan ends all the same, and soon."""
    model = sealed(tmp_path, [[1], [2]])
    header = bytearray(encode([3], base_offset=2, leader_epoch=3)[:61])
    header[8:12] = (2_000_000).to_bytes(4)
    with open(model.segment.path, "ab") as file:
        file.write(bytes(header) * 50_000)
    found = stored(tmp_path).scan_damage(-1)
    assert [(r.position, r.next_offset) for r in found.bad] == [(len(model.data), 2)]


# -- recovery ----------------------------------------------------------------------------------------------------


def test_recovery_of_every_cut(tmp_path):
    """A log cut at any byte is recovered to its last whole batch; the second recovery finds nothing to do."""
    model = sealed(tmp_path, [[1, 2], [3], [4, 5, 6]], value_bytes=5)
    for length in range(len(model.data) + 1):
        with open(model.segment.path, "wb") as file:
            file.write(model.data[:length])
        segment = stored(tmp_path)
        found = segment.recover(dense=True)
        whole = [b for b in model.batches if b.end_position <= length]
        end = whole[-1].end_position if whole else 0
        assert (found.end_position, found.file_size_bytes) == (end, length)
        assert found.next_offset == (whole[-1].next_offset if whole else 0)
        assert bool(found.status) == (end != length)
        assert bool(found.reason) == bool(found.status)
        assert segment.size_bytes == end
        segment.truncate(end, found.next_offset)
        segment.close(sync=False)
        assert stored(tmp_path).recover().status == 0


@pytest.mark.parametrize("zeros", [1, 60, 61, 62, 5000])
def test_zeros_are_the_end_of_the_log(tmp_path, zeros):
    model = sealed(tmp_path, [[1, 2], [3]])
    with open(model.segment.path, "ab") as file:
        file.write(bytes(zeros))
    found = stored(tmp_path).recover()
    assert (found.end_position, found.next_offset, found.max_timestamp_ms) == (len(model.data), 3, 3)
    assert "zero" in found.reason


def test_recovery_reports_what_it_read(tmp_path):
    model = SegmentModel.create(tmp_path, 10)
    model.append([5], [9, 8])
    model.leader_epoch = 6
    model.append([7])
    model.append([7], producer_id=44, producer_epoch=2, base_sequence=2**31 - 1)
    model.append([1, 2, 3], producer_id=44, producer_epoch=2, base_sequence=2**31 - 2, transactional=True)
    model.segment.close()
    found = stored(tmp_path, 10).recover(dense=True)
    assert (found.position, found.end_position, found.next_offset) == (0, len(model.data), model.next_offset)
    assert (found.batches, found.records, found.last_leader_epoch) == (5, 8, 6)
    assert (found.max_timestamp_ms, found.max_timestamp_offset) == (9, 12)
    assert found.epochs == [(3, 10), (6, 13)]
    assert found.header_digest == model.segment.digest()[0]
    one, two = found.producer_batches
    assert (one.base_offset, one.last_offset, one.base_sequence, one.last_sequence) == (14, 14, 2**31 - 1, 2**31 - 1)
    assert (two.producer_id, two.producer_epoch, two.base_sequence, two.last_sequence) == (44, 2, 2**31 - 2, 0)
    assert (one.transactional, two.transactional, two.control_type) == (False, True, None)
    assert stored(tmp_path, 10).producer_batches(0, model.batches[4].position) == [one]


def test_recovery_stops_at_offsets_and_epochs_that_go_back(tmp_path):
    for second, dense, expected in [
        (encode([2], base_offset=1, leader_epoch=3), True, 2),
        (encode([2], base_offset=0, leader_epoch=3), False, 1),
        (encode([2], base_offset=2, leader_epoch=3), True, 1),
        (encode([2], base_offset=2, leader_epoch=3), False, 2),
        (encode([2], base_offset=1, leader_epoch=2), False, 1),
        (encode([2], base_offset=2**31, leader_epoch=3), False, 1),
    ]:
        path = tmp_path / f"{0:020d}.log"
        path.write_bytes(encode([1], base_offset=0, leader_epoch=3) + second)
        assert stored(tmp_path).recover(dense=dense).batches == expected


@pytest.mark.parametrize("flushed", [0, 30, 60])
@pytest.mark.parametrize("known_maximum", [False, True])
def test_recovery_from_a_tail_checkpoint(tmp_path, seed, flushed, known_maximum):
    """From a position on it gives what a whole recovery gives, however much of the indexes was in their files."""
    rng = random.Random(seed)
    model = SegmentModel.create(tmp_path, 70, index_interval_bytes=700)
    model.fill(rng, flushed)
    model.segment.flush_indexes()
    model.fill(rng, 60 - flushed)
    tail = (model.end_position, model.next_offset, model.segment.header_digest)
    stamps = {"max_timestamp_ms": model.segment.max_timestamp_ms} if known_maximum else {}
    before = len(model.batches)
    model.fill(rng, 30)
    model.segment.abandon()
    segment = stored(tmp_path, 70, index_interval_bytes=700)
    found = segment.recover(tail[0], tail[1], leader_epoch=3, dense=True, header_digest=tail[2], **stamps)
    assert (found.status, found.position, found.end_position) == (0, tail[0], len(model.data))
    assert found.batches == len(model.batches) - before
    whole = stored(tmp_path, 70, index_interval_bytes=700).recover(dense=True)
    assert found[3:5] == whole[3:5]
    assert found.max_timestamp_ms == whole.max_timestamp_ms
    assert found.max_timestamp_offset == whole.max_timestamp_offset
    assert found.header_digest == whole.header_digest
    check_lookups(model, segment, rng)
    segment.seal()
    check_lookups(model, stored(tmp_path, 70, index_interval_bytes=700), rng)


def test_recovery_where_the_files_may_change_copies(tmp_path, seed):
    rng = random.Random(seed)
    model = SegmentModel.create(tmp_path)
    model.fill(rng, 40)
    model.segment.flush_indexes()
    segment = stored(tmp_path, mapped=False, writable=False)
    found = segment.recover()
    assert (found.status, found.end_position) == (0, len(model.data))
    assert not segment.is_open
    check_lookups(model, segment, rng)
    model.segment.truncate(model.batches[3].position, model.batches[3].base_offset)
    with pytest.raises(CorruptionError, match="shorter"):
        model.view(segment).read(model.next_offset - 1, 10**6, model.next_offset)
    assert bytes(model.view(segment).read(0, 1, model.next_offset).buffer) == model.batches[0].data


def test_a_reader_follows_a_writer_and_copies_only_what_is_new(tmp_path, seed):
    rng = random.Random(seed)
    disk = FailingDisk()
    model = SegmentModel.create(tmp_path, 50, index_interval_bytes=500)
    follower = Segment(disk, str(tmp_path), 50, mapped=False, index_interval_bytes=500)
    position, next_offset, digest = 0, None, 0
    for _ in range(8):
        model.fill(rng, 10)
        disk.read_bytes = 0
        found = follower.recover(position, next_offset, dense=True)
        assert (found.status, found.position, found.end_position) == (0, position, len(model.data))
        assert disk.read_bytes <= len(model.data) - position + 64 * 1024  # and a window to look into the first batch
        check_lookups(model, follower, rng, 20)
        assert follower.header_digest == model.segment.header_digest != digest
        assert follower.index_rebuilds == 0
        position, next_offset, digest = found.end_position, found.next_offset, follower.header_digest
    keep = model.batches[2]
    model.segment.truncate(keep.position, keep.base_offset)
    with pytest.raises(CorruptionError, match="ends before"):
        follower.recover(position, next_offset)


def test_an_index_entry_inside_a_quarantined_range_is_passed_over(tmp_path):
    """It is true of bytes that nobody reads, so it is no reason to make the index anew."""
    model = sealed(tmp_path, [[i] for i in range(20)], index_interval_bytes=0)
    for bad in (3, 4, 19):
        broken = model.batches[bad]
        segment = stored(tmp_path)
        segment.set_quarantine([Range(broken.position, broken.end_position, bad, bad + 1)])
        for batch in model.batches:
            if batch is not broken:
                assert segment.locate(batch.base_offset) == batch.position
        assert segment.next_offset == 20
        with pytest.raises(CorruptionError, match="quarantined"):
            segment.locate(bad)
        assert segment.index_rebuilds == 0


def test_recovery_forgets_the_bytes_since_the_last_entry_as_a_broker_does(tmp_path):
    model = sealed(tmp_path, [[1]], value_bytes=150, index_interval_bytes=100)
    model.segment = stored(tmp_path, index_interval_bytes=100)
    model.segment.recover()
    model.append([2], value_bytes=150)
    assert model.segment.offset_index.tolist() == []
    model.append([3])
    assert model.segment.offset_index.tolist() == [(2, model.batches[2].position)]
