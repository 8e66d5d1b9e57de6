"""One partition's log: append, roll, read, truncate. The state that changes; loading it is `loader`'s.

Owns the list of segments, the published `View`, and what is stored beside the segments: leader epochs, producer
state, the transaction index, seals. It must not know replica roles, locks, clocks or other partitions. Called by
`partition`, which holds the writer lock around everything here but `view`, `sync` and reads.

Invariants:
1. `view` is replaced only after bytes and index entries of an append are in place; nothing in it ever changes.
2. A failed append leaves the log as it was: same end offset, same file size.
3. `recovery_point` moves only after the fsync of everything below it.
4. Never truncated below the high watermark; never deleted above it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kstore._native import batch as native
from kstore._native.batch import AppendInfo
from kstore._native.gate import Gate
from kstore._native.records import Encoder
from kstore._native.segment import Segment
from kstore._native.view import View
from kstore.errors import BatchTooLarge, InvariantError, OffsetOutOfRange
from kstore.log import special, truncation
from kstore.log.appended import Appended

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore._native.batches import Batches
    from kstore._native.columns import Columns
    from kstore.config import TopicConfig
    from kstore.log.derived import Derived
    from kstore.log.disk import Disk
    from kstore.log.health import Health
    from kstore.log.loader import Loaded
    from kstore.log.producers import ProducerBatch
    from kstore.log.tails import TailCheckpoint

TAIL_EVERY_BYTES = 4 << 20
"""Log bytes between tail checkpoints: what a recovery has to scan at most, a millisecond's work."""

_log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """What one sync has to make durable, taken in one moment under the writer lock."""

    next_offset: int
    segments: tuple[Segment, ...]
    new_files: bool
    tail: TailCheckpoint | None


class Log:
    """The log of one partition. Not thread-safe for writers; readers use `view`."""

    def __init__(
        self, disk: Disk, directory: str, config: TopicConfig, health: Health, loaded: Loaded, *, replicated: bool
    ) -> None:
        """`loaded` is what `loader.load` found; `replicated` leaves the high watermark to a replica role."""
        self.disk = disk
        self.directory = directory
        self.health = health
        self.derived: Derived = loaded.derived
        self.loader = loaded.loader
        self.recovery_point = loaded.recovery_point
        self._noted_epoch = loaded.derived.epochs.latest_epoch
        self.leader_epoch = max(self._noted_epoch, 0)
        """Stamped on batches that are appended as leader."""
        self._replicated = replicated
        self._straight = False  # whether an append may go through the gate; `_publish` decides
        self._active = loaded.segments[-1]
        self._encoder = Encoder()
        self._unsynced: list[Segment] = [self._active]
        self._new_files = False
        self._records: Literal["auto", "known"] = "auto"
        self._tail_at_bytes = self._active.size_bytes
        self._tail_segment = self._active
        self.reconfigure(config)
        self.view = View(
            tuple(loaded.segments), loaded.log_start_offset, loaded.log_end_offset, loaded.log_end_offset, 0
        )
        self._publish(loaded.log_end_offset)

    # -- append ---------------------------------------------------------------------------------------------

    def append_batches(self, buffer: Buffer, clock: Callable[[], int]) -> Appended:
        """Check, stamp and store a client's batches as leader; see `Partition.append_batches`."""
        if self.health.failure is not None:
            self.health.require()
        if self._straight and self._noted_epoch >= self.leader_epoch:
            try:
                passed = self._gate.append(self.view, self._active, buffer, self.leader_epoch)
            except OSError as error:
                self._append_failed(error)
            if passed is not None:
                self.view, appended = passed
                return appended
        info = native.check(buffer, records=self._records)
        if info.largest_batch_bytes > self.config.max_message_bytes:
            raise BatchTooLarge(info.largest_batch_bytes, self.config.max_message_bytes, "max.message.bytes")
        if self._rewrites or info.flags & special.SPECIAL:
            return special.append_special(self, buffer, clock)
        return self.append_checked(buffer, info)

    def append_records(self, records: Iterable[Any] | Columns, timestamp_ms: int, codec: int | None) -> Appended:
        """Encode records and store them as leader; see `Partition.append`."""
        if self.health.failure is not None:
            self.health.require()
        config = self.config
        encoder = self._encoder
        plain = not codec and not self._rewrites
        stored = 0 if plain else special.codec_for(config, codec)
        info = encoder.encode(
            records,
            base_offset=self.view.log_end_offset,
            leader_epoch=self.leader_epoch,
            timestamp_ms=timestamp_ms,
            codec=stored,
            level=None if plain else special.level_for(config, stored),
            batch_bytes_max=self._batch_bytes,
        )
        if plain and info.batches == 1 and self._straight and self._noted_epoch >= self.leader_epoch:
            try:
                passed = self._gate.append_encoded(self.view, self._active, encoder.buffer, info)
            except OSError as error:
                self._append_failed(error)
            if passed is not None:
                self.view, appended = passed
                return appended
        if info.records == 0:
            end = self.view.log_end_offset
            return Appended(end, end, -1)
        encoded = encoder.buffer
        if config.message_timestamp_type == "LogAppendTime":
            own = bytearray(encoded)
            native.set_log_append_time(own, timestamp_ms)
            encoded, info = memoryview(own), native.check(own, client=False)
        if info.batches == 1:
            return self.append_stamped(encoded, info)
        return self._append_one_by_one(encoded)

    def _append_one_by_one(self, encoded: memoryview) -> Appended:
        """Several encoded batches: each whole or not at all, with room to roll between them."""
        base = self.view.log_end_offset
        newest = -1
        for header in native.headers(encoded):
            piece = encoded[header.position : header.position + header.size_bytes]
            newest = max(newest, self.append_stamped(piece, native.check(piece, client=False)).timestamp_ms)
        return Appended(base, self.view.log_end_offset, newest)

    def append_checked(self, buffer: Buffer, info: AppendInfo, row: ProducerBatch | None = None) -> Appended:
        """Store checked batches with the next offsets and this log's leader epoch.

        `row` is what the batch says of its producer, already checked against the state.
        """
        base = self.view.log_end_offset
        end = base + info.offsets
        active = self._room_for(info, base, end, self.leader_epoch)
        try:
            active.append(buffer, info, base, self.leader_epoch)
        except OSError as error:
            self._append_failed(error)
        if row is not None:
            self.derived.apply(row, active.base_offset)
        self._publish(end)
        return tuple.__new__(Appended, (base, end, info.max_timestamp_ms, False))

    def append_stamped(self, buffer: Buffer, info: AppendInfo, row: ProducerBatch | None = None) -> Appended:
        """Store batches that carry their offsets and epoch: this log's encoder, or a leader's bytes.

        Raises `InvariantError` where the first offset is below the log end: a replica would fork. Only an empty log's
        first batch may begin below its start, where the leader's log starts inside of it (`truncation.start_over`).
        """
        base = self.view.log_end_offset
        if info.first_offset < base and not self._begins_inside(info):
            raise InvariantError(f"{self.directory}: batch of offset {info.first_offset} behind the end {base}")
        if info.first_offset > base and self.loader.dense:
            self.loader.note_hole(self.view.segments)
        active = self._room_for(info, info.first_offset, info.next_offset, info.last_leader_epoch)
        try:
            active.append_stamped(buffer, info)
        except OSError as error:
            self._append_failed(error)
        if row is not None:
            self.derived.apply(row, active.base_offset)
        self._publish(info.next_offset)
        return Appended(info.first_offset, info.next_offset, info.max_timestamp_ms)

    def _begins_inside(self, info: AppendInfo) -> bool:
        view, active = self.view, self._active
        is_empty = view.log_start_offset == view.log_end_offset and not active.size_bytes
        return is_empty and active.base_offset <= info.first_offset and info.next_offset > view.log_end_offset

    def _room_for(self, info: AppendInfo, base: int, end: int, epoch: int) -> Segment:
        """The active segment, after rolling and noting a new leader epoch where needed."""
        if info.size_bytes > self._roll_bytes:
            key = "segment.bytes" if self.config.internal_segment_bytes is None else "internal.segment.bytes"
            raise BatchTooLarge(info.size_bytes, self._roll_bytes, key)
        active = self._active
        if active.is_full(info.size_bytes, end - 1, self._roll_bytes) or self._outlived(active, info):
            active = self.roll(base)
        if self.loader.dense and not active.size_bytes and active.base_offset < base:
            self.loader.note_hole(self.view.segments)  # it was made for a batch that did not come
        if self._noted_epoch < epoch:
            with self.health.guard("write leader epochs of", self.directory):
                self.derived.assign_epoch(epoch, max(base, self.view.log_start_offset))
            self._noted_epoch = epoch
        return active

    def _outlived(self, active: Segment, info: AppendInfo) -> bool:
        """LogSegment.shouldRoll: record time since the segment's first batch, never wall time while it has any."""
        first = active.first_timestamp_ms
        return first >= 0 and info.max_timestamp_ms - first > self.config.segment_ms and active.size_bytes > 0

    def _append_failed(self, error: OSError) -> None:
        self.health.refuse(error, "append to", self._active.path, final=getattr(error, "torn", False) or None)

    def roll(self, base_offset: int | None = None) -> Segment:
        """Seal the active segment and open a new one at `base_offset` (the log end by default).

        A failure on the way leaves the active segment active and no half-made file.
        """
        base = self.view.log_end_offset if base_offset is None else base_offset
        sealed = self._active
        fresh = self.loader.segment(base)
        try:
            self.derived.write_snapshot(base)
            fresh.create()
            digest = sealed.header_digest
            sealed.seal(sync=False)
        except OSError as error:
            self._undo_roll(fresh, base)
            self.health.refuse(error, "roll", fresh.path)
        self.derived.seal(sealed, digest)
        self._active = fresh
        self._unsynced.append(fresh)
        self._new_files = True
        view = self.view
        marks = (view.log_end_offset, view.high_watermark, view.last_stable_offset)
        self.view = View((*view.segments, fresh), view.log_start_offset, *marks)
        return fresh

    def _undo_roll(self, fresh: Segment, base: int) -> None:
        """Take away what a failed roll has made; what cannot be removed now is empty and resolved at the next open."""
        for unlink in (fresh.unlink, lambda: self.derived.remove_snapshot(base)):
            try:
                unlink()
            except OSError as error:
                _log.warning("after a failed roll of %s: %s", self.directory, error)

    def _publish(self, end: int) -> None:
        view = self.view
        mark = view.high_watermark if self._replicated else end
        producers = self.derived.producers
        stable = max(producers.last_stable_offset(mark), view.log_start_offset) if producers else mark
        position = view.end_position if end == view.log_end_offset else -1  # else what was appended is seen too
        self.view = View(view.segments, view.log_start_offset, end, mark, stable, position)
        waits = not self._active.size_bytes and self._active.base_offset < end  # for a batch that may not come
        self._straight = not (self._rewrites or self._replicated or producers or waits)

    def reconfigure(self, config: TopicConfig) -> None:
        """Take a topic's new configuration; it holds from the next append on, index limits from the next segment."""
        self.config = self.loader.config = config
        self._roll_bytes = config.roll_bytes
        self._rewrites = config.compression_type != "producer" or config.message_timestamp_type != "CreateTime"
        self._straight = self._straight and not self._rewrites
        if config.compacts and self.loader.dense:
            self.loader.note_hole(self.view.segments)
        self._batch_bytes = min(config.max_message_bytes, self._roll_bytes)
        self._gate = Gate(
            Appended,
            batch_bytes_max=config.max_message_bytes,
            segment_bytes=self._roll_bytes,
            segment_ms=config.segment_ms,
            refused_flags=special.SPECIAL,
            records=self._records,
        )

    def check_records(self) -> None:
        """Look at every record of the batches that come, not only at small uncompressed ones (LogValidator)."""
        self._records = "known"
        self.reconfigure(self.config)

    # -- read -----------------------------------------------------------------------------------------------

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, oldest first; the last one is active."""
        return self.view.segments

    def read_committed(self, view: View, offset: int, max_bytes: int) -> Batches:
        """Batches below the last stable offset, with what aborted transactions wrote marked to be hidden."""
        found = view.read(offset, max_bytes, view.last_stable_offset)
        aborted = self.derived.aborted_between(view.segments, offset, found.next_offset)
        return view.read(offset, max_bytes, view.last_stable_offset, aborted) if aborted else found

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """See `Partition.offset_for_timestamp`."""
        view = self.view
        return view.offset_for_timestamp(timestamp_ms, view.high_watermark)

    # -- durability -----------------------------------------------------------------------------------------

    def mark(self, *, tail: bool = False) -> Mark:
        """Note, under the writer lock, what the next sync covers; `tail` asks for a tail checkpoint with it."""
        self.health.require()
        active = self._active
        grown = active is not self._tail_segment or active.size_bytes - self._tail_at_bytes >= TAIL_EVERY_BYTES
        mark = Mark(
            self.view.log_end_offset,
            tuple(self._unsynced),
            self._new_files,
            self._tail() if tail or grown else None,
        )
        if mark.tail is not None:
            self._tail_segment, self._tail_at_bytes = active, active.size_bytes
        self._unsynced = [active]
        self._new_files = False
        return mark

    def _tail(self) -> TailCheckpoint | None:
        """A checkpoint of the end; the index entries below it go to their files, so that nobody walks there again."""
        try:
            self._active.write_indexes()
            return self.derived.tail_of(self._active, self.view.log_end_offset)
        except OSError as error:  # an index can be lost: without a checkpoint a recovery scans more
            _log.warning("no tail checkpoint for %s: %s", self.directory, error)
            return None

    def sync(self, mark: Mark) -> int:
        """Make what `mark` covers durable, outside the writer lock; returns the new recovery point.

        Any failure is final for the directory: see `health`.
        """
        with self.health.guard("fsync", self.directory, final=True):
            for segment in mark.segments:
                segment.flush_log()
                if segment is not self._active:
                    segment.flush_indexes()
            self.derived.flush_aborted()
            if mark.new_files:
                self.derived.sync_snapshots(mark.segments[1:])
                self.disk.sync_dir(self.directory)
        self.health.require()
        self.recovery_point = max(self.recovery_point, mark.next_offset)
        if mark.tail is not None:
            self.derived.write_tail(mark.tail)
        return mark.next_offset

    # -- truncation and deletion ----------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Drop every record at or above `offset`; see `Partition.truncate_to`."""
        self.require_truncatable(offset)
        truncation.truncate(self, offset)

    def go_on_with(self, segments: list[Segment], view: View) -> None:
        """After records were taken back: go on with these segments, the last one open for appends, and this view."""
        last = segments[-1]
        self._active = last
        self._unsynced = [s for s in self._unsynced if s in segments and s is not last] + [last]
        self._tail_segment, self._tail_at_bytes = last, last.size_bytes
        self._noted_epoch = self.derived.epochs.latest_epoch
        self.view = view
        self._publish(view.log_end_offset)

    def require_truncatable(self, offset: int) -> None:
        """Raise `InvariantError` where `truncate_to(offset)` would take back what consumers may have seen."""
        self.health.require()
        if offset < self.view.high_watermark:
            raise InvariantError(
                f"{self.directory}: truncation to {offset}, below the high watermark {self.view.high_watermark}"
            )

    def raise_log_start(self, offset: int, note: Callable[[int], None]) -> bool:
        """Let the log start at `offset`, up to the high watermark; returns whether that is higher than before.

        `note` writes it where the next open finds it, before anybody sees it: where that fails, nothing has changed.
        Segments below stay until `delete_dead_segments`, because a crash may bring them back.
        """
        view = self.view
        if offset > view.high_watermark:
            raise OffsetOutOfRange(offset, view.log_start_offset, view.high_watermark, self.directory)
        if offset <= view.log_start_offset:
            return False
        self.health.require()
        note(offset)
        stable = max(view.last_stable_offset, offset)
        self.view = View(view.segments, offset, view.log_end_offset, view.high_watermark, stable)
        return True

    def delete_dead_segments(self) -> None:
        """Unlink the segments wholly below the log start offset; gone for good when this returns."""
        self.health.require()
        truncation.delete_dead_segments(self)

    def assign_epoch(self, epoch: int, start_offset: int) -> None:
        """Note on the medium that a leader's term begins here, before anything is appended in it (KIP-101)."""
        self.health.require()
        with self.health.guard("write leader epochs of", self.directory):
            self.derived.assign_epoch(epoch, start_offset)
        self._noted_epoch = self.derived.epochs.latest_epoch

    def replicate_from(self, high_watermark: int) -> None:
        """Hand the high watermark to a replica role, starting at `high_watermark`: appends stop moving it."""
        self._replicated = True
        view = self.view
        self.view = view.with_offsets(high_watermark=high_watermark)
        self._publish(view.log_end_offset)

    def stand_alone(self) -> None:
        """End the replica role: the high watermark is the log end again."""
        self._replicated = False
        self._publish(self.view.log_end_offset)

    def advance_high_watermark(self, offset: int) -> None:
        """Publish a new high watermark, as a replica role decides it. Never goes back, never above the end."""
        view = self.view
        if not view.high_watermark <= offset <= view.log_end_offset:
            raise InvariantError(
                f"{self.directory}: high watermark {offset} outside {view.high_watermark} to {view.log_end_offset}"
            )
        self.view = view.with_offsets(high_watermark=offset)
        self._publish(view.log_end_offset)

    def refresh(self) -> None:
        """Read-only logs: take in what their writer has appended since, as far as its checksums fit."""
        refreshed = self.loader.refresh(self.view, self.derived)
        if refreshed is not None:
            self.view = refreshed
            self._active = refreshed.segments[-1]

    # -- damage ---------------------------------------------------------------------------------------------

    def quarantine(self, file: str) -> bool:
        """Scan the segment whose `.log` is `file` and put its damage aside; False where that changes nothing."""
        segments = self.view.segments
        for i, segment in enumerate(segments):
            if segment.path == file:
                end = segments[i + 1].base_offset if i + 1 < len(segments) else self.view.log_end_offset
                was, dense = self.loader.dense, self.loader.still_dense(segments)
                return was != dense or self.derived.quarantine(segment, end, dense=dense)
        return False

    # -- life -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """A clean stop: indexes trimmed, snapshot written, everything synced, as Kafka leaves a log."""
        self.health.require()
        end = self.view.log_end_offset
        with self.health.guard("close", self.directory, final=True):
            tail = self.derived.tail_of(self._active, end)
            for segment in self._unsynced:
                segment.flush_log()
                segment.flush_indexes()
            self.derived.flush_aborted()
            self.derived.sync_snapshots(self._unsynced[1:])
            self._active.close(sync=True)
            self.derived.write_snapshot(end, sync=True)
            self.derived.reseal(segment for segment in self.segments[:-1] if segment.index_rebuilds)
            if tail is not None:
                self.derived.write_tail(tail)
            self.disk.sync_dir(self.directory)
        self.recovery_point = end
        self._drop_handles()

    def abandon(self) -> None:
        """Let go of the files and write nothing: the directory failed, or was only read."""
        self._active.abandon()
        self._drop_handles()

    def _drop_handles(self) -> None:
        for segment in self.view.segments[:-1]:
            segment.close(sync=False)
