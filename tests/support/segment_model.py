"""A segment as a plain list of batches: what every lookup, read and index must agree with, by brute force.

`SegmentModel` writes the same batches to a `Segment` and remembers where each stands and which timestamps it holds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import kstore._native.batch as native
from kstore._native.records import Record
from kstore._native.segment import Segment
from kstore._native.view import View
from kstore.log.disk import OsDisk
from kstore.records import encode_batches


def encode(timestamps, *, value_bytes=20, base_offset=0, leader_epoch=-1, **options) -> bytes:
    """One batch, a record a timestamp."""
    records = [Record(b"v" * value_bytes, timestamp_ms=stamp) for stamp in timestamps]
    return encode_batches(records, base_offset=base_offset, leader_epoch=leader_epoch, **options)


@dataclass
class StoredBatch:
    base_offset: int
    position: int
    data: bytes
    timestamps: list[int]

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.timestamps)

    @property
    def end_position(self) -> int:
        return self.position + len(self.data)


@dataclass
class SegmentModel:
    segment: Segment
    batches: list[StoredBatch] = field(default_factory=list)
    leader_epoch: int = 3

    @classmethod
    def create(cls, directory, base_offset=0, **options) -> SegmentModel:
        segment = Segment(OsDisk(), str(directory), base_offset, writable=True, **options)
        segment.create()
        return cls(segment)

    @property
    def next_offset(self) -> int:
        return self.batches[-1].next_offset if self.batches else self.segment.base_offset

    @property
    def end_position(self) -> int:
        return self.batches[-1].end_position if self.batches else 0

    def append(self, *groups, value_bytes=20, offset=None, **options) -> None:
        """One append call of as many batches as there are groups of timestamps."""
        plain = [encode(group, value_bytes=value_bytes, **options) for group in groups]
        buffer = b"".join(plain)
        base = self.next_offset if offset is None else offset
        self.segment.append(buffer, native.check(buffer), base, self.leader_epoch)
        for group, data in zip(groups, plain, strict=True):
            stamped = base.to_bytes(8) + data[8:12] + self.leader_epoch.to_bytes(4) + data[16:]
            self.batches.append(StoredBatch(base, self.end_position, stamped, list(group)))
            base += len(group)

    def fill(self, rng: random.Random, appends: int, *, clock=1000, gaps=False) -> None:
        """Appends of one to four batches of one to five records, sizes and timestamps at random."""
        for _ in range(appends):
            groups = [
                [max(-1, clock + rng.randint(-200, 200)) for _ in range(rng.randint(1, 5))]
                for _ in range(rng.choice([1, 1, 2, 4]))
            ]
            clock += rng.choice([0, 0, 50, 400])
            offset = self.next_offset + (rng.randint(0, 9) if gaps else 0)
            self.append(*groups, value_bytes=rng.choice([0, 30, 900]), offset=offset)

    @property
    def data(self) -> bytes:
        return b"".join(batch.data for batch in self.batches)

    def view(self, segment=None) -> View:
        end = self.next_offset
        return View((segment or self.segment,), self.segment.base_offset, end, end, end)

    # -- by brute force --------------------------------------------------------------------------------------

    def locate(self, offset: int) -> int:
        return next((b.position for b in self.batches if b.next_offset > offset), self.end_position)

    def read(self, offset: int, max_bytes: int, limit: int | None = None) -> tuple[int, bytes]:
        limit = self.next_offset if limit is None else limit
        wanted = [b for b in self.batches if b.next_offset > offset and b.next_offset <= limit]
        if not wanted:
            return -1, b""
        data = wanted[0].data
        for batch in wanted[1:]:
            if len(data) + len(batch.data) > max_bytes:
                break
            data += batch.data
        return wanted[0].position, data

    def offset_for_timestamp(self, timestamp_ms: int, start_offset: int = 0) -> tuple[int, int] | None:
        for batch in self.batches:
            for i, stamp in enumerate(batch.timestamps):
                if stamp >= timestamp_ms and batch.base_offset + i >= start_offset:
                    return batch.base_offset + i, stamp
        return None

    def indexes(self, interval_bytes=4096, *, forced=True) -> tuple[bytes, bytes]:
        """Both index files by Kafka's rule, told anew: an entry when more than the interval has passed since."""
        base = self.segment.base_offset
        offsets, times = b"", b""
        since, largest, largest_offset, last = 0, -1, -1, -1
        for batch in self.batches:
            if max(batch.timestamps) > largest:
                largest, largest_offset = max(batch.timestamps), batch.next_offset - 1
            if since > interval_bytes:
                offsets += (batch.next_offset - 1 - base).to_bytes(4) + batch.position.to_bytes(4)
                if largest > last:
                    times += largest.to_bytes(8) + (largest_offset - base).to_bytes(4)
                    last = largest
                since = 0
            since += len(batch.data)
        if forced and largest > last:
            times += largest.to_bytes(8) + (largest_offset - base).to_bytes(4)
        return offsets, times


def check_lookups(model: SegmentModel, segment: Segment, rng: random.Random, count=60) -> None:
    """Offsets, reads and timestamps at random answer as the model does."""
    view = model.view(segment)
    stamps = [stamp for batch in model.batches for stamp in batch.timestamps]
    for _ in range(count):
        offset = rng.randrange(segment.base_offset, model.next_offset)
        assert segment.locate(offset) == model.locate(offset), offset
        max_bytes = rng.choice([1, 200, 5000, 40_000, 10**9])
        batches = view.read(offset, max_bytes, model.next_offset)
        assert (batches.position, bytes(batches.buffer)) == model.read(offset, max_bytes), (offset, max_bytes)
        stamp = rng.choice(stamps) + rng.choice([-1, 0, 1])
        start = rng.choice([0, offset])
        assert segment.offset_for_timestamp(stamp, start) == model.offset_for_timestamp(stamp, start), (stamp, start)
    assert segment.max_timestamp_ms == max(stamps)
    assert segment.next_offset == model.next_offset
