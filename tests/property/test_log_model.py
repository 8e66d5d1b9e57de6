"""A log against a plain list: whatever is done to a directory, it holds what the list holds.

The machine drives the public API on real files: appends of every shape, pre-encoded batches, idempotent producers,
transactions, rolls, flushes, clean and unclean stops, deleted and broken files, deleted records, truncation, reads by
offset and by time. A stop that is not clean abandons the store, as a killed process does: the page cache survives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import kstore
from kstore.config import StoreConfig
from kstore.log import names
from kstore.log.disk import OsDisk
from kstore.store import Store

LOSABLE = ["index", "timeindex", "snapshot", "sidecar", "epochs"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
values = st.none() | st.binary(max_size=60)
headers = st.lists(st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4)), max_size=2)
shapes = st.one_of(st.binary(max_size=80), st.tuples(values, values), st.tuples(values, values, headers))
timestamps = st.integers(-2, 10_000)


class Expected(NamedTuple):
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    aborted: bool = False


def expected(offset: int, timestamp_ms: int, shape: Any) -> Expected:
    if isinstance(shape, bytes):
        return Expected(offset, timestamp_ms, None, shape, ())
    key, value, *rest = shape
    return Expected(offset, timestamp_ms, key, value, tuple(rest[0]) if rest else ())


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.mkdtemp(prefix="kstore-model-")
        self.model: list[Expected] = []
        self.end = 0
        self.start = 0
        self.sequences: dict[int, int] = {}
        self.last_sent: dict[int, tuple[bytes, int, int]] = {}
        self.open_transactions: dict[int, int] = {}
        self.markers: list[tuple[int, int]] = []
        self.history_lost = False
        """Snapshots are gone: what producers did is known from the batches only."""
        self.store: Store | None = None

    def teardown(self) -> None:
        if self.store is not None:
            self.store.close()
        shutil.rmtree(self.root)

    @initialize(segment_bytes=st.sampled_from([300, 1000, 5000]), interval=st.sampled_from([0, 100, 4096]))
    def make(self, segment_bytes: int, interval: int) -> None:
        self.open()
        config = {"internal.segment.bytes": segment_bytes, "index.interval.bytes": interval}
        self.store.create_topic("t", config=config)
        self.limit = segment_bytes

    def open(self) -> None:
        self.store = Store(self.root, StoreConfig(), OsDisk(), lambda: 5_000, background=False)

    @property
    def partition(self) -> kstore.Partition:
        assert self.store is not None
        return self.store.partition("t", 0)

    @property
    def directory(self) -> str:
        return f"{self.root}/t-0"

    def added(self, records: list[Expected], next_offset: int) -> None:
        self.model += records
        self.end = next_offset

    # -- appends --

    @rule(records=st.lists(shapes, min_size=1, max_size=6), timestamp=timestamps, codec=st.sampled_from(CODECS))
    def append(self, records: list[Any], timestamp: int, codec: str) -> None:
        try:
            done = self.partition.append(records, timestamp_ms=timestamp, compression=codec)
        except kstore.BatchTooLarge:
            return
        assert done.base_offset == self.end
        self.added([expected(self.end + i, timestamp, r) for i, r in enumerate(records)], done.next_offset)

    @rule(groups=st.lists(st.lists(shapes, min_size=1, max_size=3), min_size=1, max_size=3), timestamp=timestamps)
    def append_batches(self, groups: list[list[Any]], timestamp: int) -> None:
        buffer = b"".join(kstore.encode_batches(group, timestamp_ms=timestamp) for group in groups)
        try:
            done = self.partition.append_batches(buffer)
        except kstore.BatchTooLarge:
            assert len(buffer) > self.limit
            return
        flat = [record for group in groups for record in group]
        assert (done.base_offset, done.next_offset) == (self.end, self.end + len(flat))
        self.added([expected(self.end + i, timestamp, r) for i, r in enumerate(flat)], done.next_offset)

    @rule(producer=st.integers(1, 3), count=st.integers(1, 3), transactional=st.booleans())
    def append_idempotent(self, producer: int, count: int, transactional: bool) -> None:
        if producer in self.open_transactions:
            transactional = True
        sequence = self.sequences.get(producer, 0)
        data = [b"p%d-%d" % (producer, sequence + i) for i in range(count)]
        buffer = kstore.encode_batches(
            data,
            timestamp_ms=7,
            producer_id=producer,
            producer_epoch=0,
            base_sequence=sequence,
            transactional=transactional,
        )
        done = self.partition.append_batches(buffer)
        assert (done.base_offset, done.duplicate) == (self.end, False)
        if transactional:
            self.open_transactions.setdefault(producer, self.end)
        self.added([Expected(self.end + i, 7, None, v, ()) for i, v in enumerate(data)], done.next_offset)
        self.sequences[producer] = sequence + count
        self.last_sent[producer] = (buffer, done.base_offset, done.next_offset)

    @precondition(lambda self: self.last_sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        producer = data.draw(st.sampled_from(sorted(self.last_sent)))
        buffer, base, end = self.last_sent[producer]
        done = self.partition.append_batches(buffer)
        assert (done.base_offset, done.next_offset, done.duplicate) == (base, end, True)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def leave_a_gap(self, data: st.DataObject) -> None:
        producer = data.draw(st.sampled_from(sorted(self.sequences)))
        buffer = kstore.encode_batches(
            [b"gap"],
            producer_id=producer,
            producer_epoch=0,
            base_sequence=self.sequences[producer] + 1,
            transactional=producer in self.open_transactions,
        )
        try:
            self.partition.append_batches(buffer)
        except kstore.OutOfOrderSequence:
            return
        raise AssertionError("a gap in the sequence was accepted")

    @precondition(lambda self: self.open_transactions)
    @rule(data=st.data(), commit=st.booleans())
    def end_transaction(self, data: st.DataObject, commit: bool) -> None:
        producer = data.draw(st.sampled_from(sorted(self.open_transactions)))
        first = self.open_transactions.pop(producer)
        done = self.partition.end_transaction(producer, 0, commit=commit)
        assert done.base_offset == self.end
        self.markers.append((self.end, 5_000))
        self.end = done.next_offset
        if not commit:
            own = b"p%d-" % producer
            self.model = [
                r._replace(aborted=True) if r.offset >= first and (r.value or b"").startswith(own) else r
                for r in self.model
            ]
        self.last_sent.pop(producer, None)

    # -- life --

    @rule()
    def roll(self) -> None:
        if self.partition.segments[-1].size_bytes:
            self.partition.log.roll()

    @rule()
    def flush(self) -> None:
        self.partition.flush()
        assert self.partition.recovery_point == self.end

    @rule()
    def stop_clean(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def tick_then_kill(self) -> None:
        self.store.tick()
        self.kill()

    @rule()
    def kill(self) -> None:
        abandon(self.store)
        self.open()

    @rule(kind=st.sampled_from(LOSABLE), clean=st.booleans(), data=st.data())
    def lose_a_file(self, kind: str, clean: bool, data: st.DataObject) -> None:
        self.partition  # noqa: B018  opened, so that closing it writes its files
        if clean:
            self.store.close()
        else:
            abandon(self.store)
        found = sorted(
            name
            for name in os.listdir(self.directory)
            if name.endswith("." + kind)
            or (kind == "sidecar" and name.startswith("kstore-"))
            or (kind == "epochs" and name == names.EPOCHS_FILE)
        )
        if kind == "snapshot" and self.start > 0:
            found = []
        for name in data.draw(st.sets(st.sampled_from(found)), label="lost") if found else ():
            os.unlink(f"{self.directory}/{name}")
            self.history_lost = self.history_lost or kind == "snapshot"
        self.open()

    @precondition(lambda self: self.end > 0)
    @rule(tail=st.binary(min_size=1, max_size=90))
    def kill_with_a_torn_tail(self, tail: bytes) -> None:
        path = self.partition.segments[-1].path
        abandon(self.store)
        with open(path, "ab") as file:
            file.write(tail)
        self.open()
        assert self.partition.log_end_offset == self.end

    @precondition(lambda self: not self.history_lost)
    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end), label="new start")
        self.start = max(self.start, self.partition.delete_records(offset))

    @precondition(lambda self: not self.sequences)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        """A follower's truncation: through the log, whose high watermark a replica role holds back."""
        bounds = sorted({batch_end for batch_end in self.batch_ends() if batch_end >= self.start} | {self.end})
        offset = data.draw(st.sampled_from(bounds), label="truncate to")
        log = self.partition.log
        log.replicate_from(offset)
        self.partition.truncate_to(offset)
        log.stand_alone()
        self.model = [r for r in self.model if r.offset < offset]
        self.end = offset

    def batch_ends(self) -> list[int]:
        ends, offset = [], self.partition.log_start_offset
        while batch := self.partition.read(offset, max_bytes=1):
            offset = batch.next_offset
            ends.append(offset)
        return ends

    # -- reads --

    @rule(data=st.data(), max_bytes=st.sampled_from([1, 200, 100_000]))
    def read_from(self, data: st.DataObject, max_bytes: int) -> None:
        offset = data.draw(st.integers(self.start, self.end), label="offset")
        batches = self.partition.read(offset, max_bytes=max_bytes)
        got = [as_expected(r) for r in batches.records(from_offset=offset)]
        want = [strip(r) for r in self.model if offset <= r.offset < batches.next_offset]
        assert got == want
        if offset < self.end:
            assert batches.next_offset > offset

    @rule(timestamp=st.integers(-3, 10_001))
    def read_by_time(self, timestamp: int) -> None:
        stamps = sorted([*((r.offset, r.timestamp_ms) for r in self.visible()), *self.markers])
        want = next((s for s in stamps if s[0] >= self.start and s[1] >= timestamp), None)
        assert self.partition.offset_for_timestamp(timestamp) == want

    @rule(offset=st.integers(-5, 400))
    def read_outside(self, offset: int) -> None:
        if self.start <= offset <= self.end:
            return
        try:
            self.partition.read(offset)
        except kstore.OffsetOutOfRange:
            return
        raise AssertionError(f"read({offset}) outside [{self.start}, {self.end}] was answered")

    @rule()
    def read_committed(self) -> None:
        stable = min([self.end, *self.open_transactions.values()])
        assert self.partition.last_stable_offset == max(stable, self.start)
        got: list[Expected] = []
        offset = self.start
        while batches := self.partition.read(offset, max_bytes=300, isolation="read_committed"):
            got += [as_expected(r) for r in batches.records(from_offset=offset)]
            offset = batches.next_offset
        assert got == [strip(r) for r in self.visible() if r.offset < stable and not r.aborted]

    @rule()
    def look_read_only(self) -> None:
        """A second, read-only opener sees the same, changes no file and needs no lock."""
        before = {name: os.stat(f"{self.directory}/{name}").st_mtime_ns for name in os.listdir(self.directory)}
        with kstore.open(self.root, read_only=True) as other:
            partition = other.partition("t", 0)
            assert partition.log_end_offset == self.end
            offset, got = partition.log_start_offset, []
            while batches := partition.read(offset):
                got += [as_expected(r) for r in batches.records(from_offset=self.start)]
                offset = batches.next_offset
        assert got == [strip(r) for r in self.visible()]
        after = {name: os.stat(f"{self.directory}/{name}").st_mtime_ns for name in os.listdir(self.directory)}
        assert before == after

    def visible(self) -> list[Expected]:
        return [r for r in self.model if r.offset >= self.start]

    @invariant()
    def ends_agree(self) -> None:
        if self.store is not None:
            assert self.partition.log_end_offset == self.end
            assert self.partition.log_start_offset == self.start


def as_expected(record: kstore.Record) -> Expected:
    return Expected(record.offset, record.timestamp_ms, record.key, record.value, record.headers)


def strip(record: Expected) -> Expected:
    return record._replace(aborted=False)


def abandon(store: Store) -> None:
    """The end of a killed process: nothing more is written, the lock is free."""
    for partition in store._partitions.values():
        partition.close(clean=False)
    store._closed = True
    store._release()


TestLogModel = LogMachine.TestCase
TestLogModel.settings = settings(stateful_step_count=40)
