"""Reads across segments agree with a plain list of batches, at every limit, and while the log grows."""

from __future__ import annotations

import random
import threading

import pytest

from kstore._native.segment import OpenSegments, Segment
from kstore._native.view import View
from kstore.errors import OffsetOutOfRange
from kstore.log.disk import OsDisk
from support.segment_model import SegmentModel


class LogModel:
    """Several segments in a row, and one list of all their batches."""

    def __init__(self, directory, rng, *, segments=4, appends=30, gaps=False, base=100):
        self.models = []
        for i in range(segments):
            model = SegmentModel.create(directory, base, index_interval_bytes=1000)
            model.fill(rng, appends, clock=1000 * (i + 1), gaps=gaps)
            base = model.next_offset + (rng.randint(0, 5) if gaps else 0)
            if i < segments - 1:
                model.segment.seal(sync=False)
            self.models.append(model)
        self.segments = tuple(model.segment for model in self.models)
        self.batches = [batch for model in self.models for batch in model.batches]
        self.end = self.models[-1].next_offset

    def view(self, start=None, mark=None):
        start = self.segments[0].base_offset if start is None else start
        return View(self.segments, start, self.end, self.end if mark is None else mark, start)

    def read(self, offset, max_bytes, limit):
        for model in self.models:
            position, data = model.read(offset, max_bytes, limit)
            if data:
                return model.segment.path, position, data
        return "", 0, b""

    def offset_for_timestamp(self, stamp, start, limit):
        for batch in self.batches:
            for i, found in enumerate(batch.timestamps):
                if found >= stamp and start <= batch.base_offset + i < limit:
                    return batch.base_offset + i, found
        return None


@pytest.mark.parametrize("gaps", [False, True])
def test_reads_agree_with_a_list_of_batches(tmp_path, seed, gaps):
    rng = random.Random(seed)
    log = LogModel(tmp_path, rng, gaps=gaps)
    bounds = [batch.base_offset for batch in log.batches] + [log.end]
    for _ in range(400):
        limit = rng.choice([log.end, rng.choice(bounds)])
        offset = rng.randint(log.segments[0].base_offset, limit)
        max_bytes = rng.choice([0, 1, 300, 3000, 50_000, 2**62])
        found = log.view().read(offset, max_bytes, limit)
        path, position, data = log.read(offset, max_bytes, limit)
        assert bytes(found.buffer) == data, (offset, max_bytes, limit)
        if data:
            assert (found.file, found.position) == (path, position)
        else:
            assert found.next_offset == limit


def test_following_next_offset_reads_everything_once(tmp_path, seed):
    rng = random.Random(seed)
    log = LogModel(tmp_path, rng, gaps=True)
    offset, seen = log.segments[0].base_offset, b""
    while offset < log.end:
        found = log.view().read(offset, rng.choice([1, 5000]), log.end)
        assert found.next_offset > offset
        seen += bytes(found.buffer)
        offset = found.next_offset
    assert seen == b"".join(batch.data for batch in log.batches)


def test_limits(tmp_path, seed):
    log = LogModel(tmp_path, random.Random(seed))
    start = log.batches[3].base_offset
    view = log.view(start)
    assert view.read(log.end, 100, log.end).next_offset == log.end
    assert len(view.read(log.end, 100, log.end).buffer) == 0
    for offset, limit in [(start - 1, log.end), (log.end + 1, log.end), (start + 1, start), (-1, log.end)]:
        with pytest.raises(OffsetOutOfRange) as caught:
            view.read(offset, 100, limit)
        assert (caught.value.offset, caught.value.log_start_offset, caught.value.end_offset) == (offset, start, limit)


def test_a_limit_inside_a_batch_hides_all_of_it(tmp_path):
    model = SegmentModel.create(tmp_path)
    model.append([1, 2, 3], [4, 5, 6])
    view = model.view()
    assert bytes(view.read(0, 10**6, 4).buffer) == model.batches[0].data
    assert view.read(3, 10**6, 5).next_offset == 5
    assert len(view.read(3, 10**6, 5).buffer) == 0


def test_a_view_never_sees_what_came_after_it(tmp_path):
    model = SegmentModel.create(tmp_path, index_interval_bytes=0)
    model.append([1], [2])
    view, end = model.view(), model.end_position
    model.append([3], [4], value_bytes=5000)
    assert view.end_position == end
    assert bytes(view.read(0, 10**6, view.log_end_offset).buffer) == model.data[:end]
    assert view.offset_for_timestamp(3, view.log_end_offset) is None
    model.segment.seal()
    assert bytes(view.read(0, 10**6, view.log_end_offset).buffer) == model.data[:end]
    assert view.offset_for_timestamp(3, view.log_end_offset) is None
    assert bytes(model.view().read(0, 10**6, 4).buffer) == model.data


def test_timestamps_agree_with_a_list_of_records(tmp_path, seed):
    rng = random.Random(seed)
    log = LogModel(tmp_path, rng, gaps=True)
    stamps = [stamp for batch in log.batches for stamp in batch.timestamps]
    starts = [rng.choice(log.batches).base_offset for _ in range(20)]
    for stamp in {*stamps[:: max(1, len(stamps) // 150)], -1, 0, min(stamps), max(stamps), max(stamps) + 1, -(2**63)}:
        start = rng.choice([log.segments[0].base_offset, *starts])
        limit = rng.choice([log.end, max(start, rng.choice(log.batches).base_offset)])
        view = log.view(start)
        first = log.offset_for_timestamp(stamp, start, log.end)
        expected = first if first is None or first[0] < limit else None
        assert view.offset_for_timestamp(stamp, limit) == expected, (stamp, start, limit)


def test_segment_at_and_marks(tmp_path, seed):
    log = LogModel(tmp_path, random.Random(seed))
    view = log.view()
    for i, segment in enumerate(log.segments):
        assert view.segment_at(segment.base_offset) is segment
        if i:
            assert view.segment_at(segment.base_offset - 1) is log.segments[i - 1]
    assert view.segment_at(0) is log.segments[0]
    assert view.segment_at(log.end + 99) is log.segments[-1]
    moved = view.with_offsets(high_watermark=150, log_start_offset=120, last_stable_offset=140)
    assert (moved.log_start_offset, moved.last_stable_offset, moved.high_watermark, moved.log_end_offset) == (
        120, 140, 150, log.end,
    )  # fmt: skip
    assert moved.segments is view.segments
    assert moved.end_position == view.end_position


def test_ten_thousand_segments_open_without_a_file_touched(tmp_path, seed):
    rng = random.Random(seed)
    log = LogModel(tmp_path, rng, segments=2, base=90_000)
    shared = OpenSegments(4)
    names = [Segment(OsDisk(), str(tmp_path), base, open_segments=shared) for base in range(10_000)]
    view = View((*names, *log.segments), 90_000, log.end, log.end, log.end)
    assert bytes(view.read(90_000, 1, log.end).buffer) == log.batches[0].data
    assert len(shared) == 0


def test_readers_run_while_the_log_grows_and_rolls(tmp_path, seed):
    """No reader ever sees a torn batch, a wrong offset or anything above its view."""
    rng = random.Random(seed)
    shared = OpenSegments(2)
    model = SegmentModel.create(tmp_path, index_interval_bytes=200, open_segments=shared)
    model.append([0])
    published = [model.view()]
    failures: list[BaseException] = []
    done = threading.Event()

    def follow(random_number):
        draw = random.Random(random_number)
        try:
            while not done.is_set():
                view = published[-1]
                offset = draw.randrange(view.log_start_offset, view.log_end_offset)
                found = view.read(offset, draw.choice([1, 4000]), view.log_end_offset)
                records = list(found)
                assert records[0].offset <= offset < found.next_offset <= view.log_end_offset
                assert all(record.timestamp_ms == record.offset for record in records)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=follow, args=(rng.random(),)) for _ in range(3)]
    for reader in readers:
        reader.start()
    segments = [model.segment]
    for _ in range(400):
        end = model.next_offset
        model.append(*[[end + i] for i in range(rng.randint(1, 4))], value_bytes=rng.choice([10, 3000]))
        if rng.random() < 0.05:
            segments[-1].seal(sync=False)
            model = SegmentModel.create(tmp_path, model.next_offset, index_interval_bytes=200, open_segments=shared)
            segments.append(model.segment)
        end = model.next_offset
        published.append(View(tuple(segments), 0, end, end, end))
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
