"""One partition as its users hold it: one log, the writer's lock, and who waits for which fsync.

Owns the order of things: append under the lock, publish, unlock, then wait for durability where it was asked for.
It must not know how bytes lie in files (`log`) nor which directories exist (`store`). Called by applications, and
by `store`, which makes it.

Invariants:
1. One writer at a time; the lock is held across the write into the page cache, never across an fsync.
2. Readers take no lock: they read the `View` that the last finished append published.
3. An append that returns has its bytes in the page cache: the death of the process loses none of them. One that was
   durable has them on the medium.
4. A partition without a replica role has its high watermark at its log end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kstore import compression as codecs
from kstore.errors import ClosedError, CorruptionError, NotLeader, UsageError
from kstore.log import retention, truncation
from kstore.log.appended import Appended
from kstore.log.commit import GroupCommit
from kstore.log.special import append_as_follower, append_marker

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore._native.batches import Batches
    from kstore._native.columns import Columns
    from kstore._native.segment import Segment
    from kstore.config import TopicConfig
    from kstore.log.log import Log

def _nothing(_: int) -> None:
    """No store above: nobody keeps checkpoints."""


READ_BYTES = 1 << 20
"""Default of `read(max_bytes=)`: Kafka's max.partition.fetch.bytes."""


class Partition:
    """A partition of a topic: append at its end, read from any offset.

    Made by `Store.partition`. Threads may share it. After `Store.close()` every call raises `ClosedError`, but what
    was read before stays valid: a view holds its mapping.
    """

    def __init__(self, topic: str, index: int, log: Log, clock: Callable[[], int], *, read_only: bool) -> None:
        """`clock` gives the wall clock in milliseconds; it stamps records that carry no timestamp."""
        self.topic = topic
        self.index = index
        self._log = log
        self._clock = clock
        self._read_only = read_only
        self._closed = False
        self._writer = threading.Lock()
        self._commit = GroupCommit(self._sync, log.recovery_point)
        self.on_log_start: Callable[[int], None] = _nothing
        """Called with the new log start offset before segments are deleted; the store writes its checkpoint then."""
        self.on_rewind: Callable[[int], None] = _nothing
        """Called before the log is cut below its recovery point; the store lowers its checkpoint then."""
        self._flush_messages = log.config.flush_messages
        self._follows = False

    # -- writing --------------------------------------------------------------------------------------------

    def append(
        self,
        records: Iterable[Any] | Columns,
        *,
        timestamp_ms: int | None = None,
        compression: str | None = None,
        durable: bool | None = None,
    ) -> Appended:
        """Append records as one batch, or as several where one would pass `max.message.bytes`.

        Parameters
        ----------
        records
            An iterable of value `bytes`, `(key, value)`, `(key, value, headers)` or `kstore.Record`; or
            `kstore.Columns`, of which no object is made for any record.
        timestamp_ms
            Time of the records that carry none; now by default. With `message.timestamp.type=LogAppendTime` the
            time of the append wins.
        compression
            `gzip`, `snappy`, `lz4`, `zstd` or `none`; by default what the topic's `compression.type` names, and no
            compression where that is `producer`.
        durable
            True: return after fsync; one fsync serves every append that waits. False: return once the bytes are in
            the page cache. None: as the topic's `flush.messages` says (by default never).

        Returns where the records went. Atomic per batch: a batch is stored whole or not at all.

        Raises `BatchTooLarge` for a single record above the limit (nothing of its batch is stored),
        `StorageError` where the disk refuses, `UsageError` for records of a wrong shape.
        """
        codec = None if compression is None else codecs.codec_id(compression)
        if timestamp_ms is None:
            timestamp_ms = self._clock()
        with self._writer:
            if self._closed or self._read_only or self._follows:
                self._require_leadable()
            appended = self._log.append_records(records, timestamp_ms, codec)
        if durable is False or (durable is None and self._flush_messages > appended.next_offset):
            return appended
        return self._settled(appended, durable)

    def append_batches(self, buffer: Buffer, *, durable: bool | None = None) -> Appended:
        """Append record batches as a producer sends them: checked, then stamped in the log's own copy.

        `buffer` holds one or more whole batches of magic 2; base offset and leader epoch are the log's to set, every
        other byte is stored as given unless the topic's config asks for another codec or LogAppendTime. A batch
        that an idempotent producer sends again is answered with its old offsets and `duplicate=True`.

        Raises `InvalidBatch` (nothing is stored), `OutOfOrderSequence`, `InvalidProducerEpoch`, `BatchTooLarge`,
        `StorageError`.
        """
        with self._writer:
            if self._closed or self._read_only or self._follows:
                self._require_leadable()
            appended = self._log.append_batches(buffer, self._clock)
        if durable is False or (durable is None and self._flush_messages > appended.next_offset):
            return appended
        return self._settled(appended, durable)

    def end_transaction(
        self,
        producer_id: int,
        producer_epoch: int,
        *,
        commit: bool,
        coordinator_epoch: int = 0,
        timestamp_ms: int | None = None,
    ) -> Appended:
        """Write the control record that commits or aborts a producer's transaction in this partition.

        What a transaction coordinator does with WriteTxnMarkers; the record takes an offset. Raises
        `InvalidProducerEpoch` for an epoch older than the partition has seen.
        """
        if timestamp_ms is None:
            timestamp_ms = self._clock()
        with self._writer:
            self._require_leadable()
            return append_marker(
                self._log,
                producer_id,
                producer_epoch,
                commit=commit,
                coordinator_epoch=coordinator_epoch,
                timestamp_ms=timestamp_ms,
            )

    def flush(self) -> None:
        """Return once everything appended so far is on the medium; raises `StorageError` if that fails."""
        if self._read_only:
            raise UsageError(f"{self._log.directory} is open read-only: there is nothing to flush")
        self._require_open()
        self._commit.wait_for(self._log.view.log_end_offset)

    def _settled(self, appended: Appended, durable: bool | None) -> Appended:
        if durable or (
            durable is None and appended.next_offset - self._commit.durable_offset >= self._flush_messages
        ):
            self._commit.wait_for(appended.next_offset)
        return appended

    def sync(self) -> int:
        """As `flush`; returns the offset below which everything is on the medium now."""
        self.flush()
        return self._commit.durable_offset

    def _sync(self) -> int:
        with self._writer:
            mark = self._log.mark()
        return self._log.sync(mark)

    # -- reading --------------------------------------------------------------------------------------------

    def read(
        self, offset: int, *, max_bytes: int = READ_BYTES, isolation: str = "read_uncommitted"
    ) -> Batches:
        """Whole batches that start at or cover `offset`, as one read-only view without a copy.

        Returns batches up to `max_bytes`, the first one whole even where it is larger; never above the high
        watermark, or above the last stable offset with `isolation="read_committed"`; empty at the end. The view
        stays valid after truncation, deletion and close.

        Raises `OffsetOutOfRange` outside `[log_start_offset, end]`, `CorruptionError` where the batch at `offset`
        is damaged: its `next_offset` says where good data resumes, `StorageError` where the disk fails to read.
        """
        if self._closed:
            self._require_open()
        log = self._log
        view = log.view
        try:
            if isolation == "read_uncommitted":
                return view.read(offset, max_bytes, view.high_watermark)
            if isolation == "read_committed":
                return log.read_committed(view, offset, max_bytes)
        except CorruptionError as damage:
            return self._read_past(damage, offset, max_bytes, isolation)
        except OSError as error:
            if log.view.segments is not view.segments:  # truncated, rolled or deleted meanwhile: the next look decides
                return self.read(offset, max_bytes=max_bytes, isolation=isolation)
            log.health.refuse(error, "read", log.directory, final=False)
        raise UsageError(f"isolation is read_uncommitted or read_committed, not {isolation!r}")

    def _read_past(self, damage: CorruptionError, offset: int, max_bytes: int, isolation: str) -> Batches:
        """Quarantine damage that a read met, then read again: what is whole around it stays readable."""
        with self._writer:
            found = self._log.quarantine(damage.file)
        if not found:
            raise damage
        return self.read(offset, max_bytes=max_bytes, isolation=isolation)

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """The first record whose timestamp is at or above `timestamp_ms`, as `(offset, its timestamp)`.

        None when there is none below the high watermark. Timestamps need not rise with offsets: the answer is the
        record with the lowest offset, as Kafka's ListOffsets gives it.

        Raises `StorageError` where the disk fails to read.
        """
        self._require_open()
        with self._log.health.guard("read", self._log.directory, final=False):
            return self._log.offset_for_timestamp(timestamp_ms)

    def refresh(self) -> int:
        """In a read-only store: take in what another process has appended; returns the log end offset.

        In a writing store it only returns the log end offset, since nobody else may append.
        """
        self._require_open()
        if self._read_only:
            with self._writer:
                self._log.refresh()
        return self._log.view.log_end_offset

    # -- what a replica role does (`kstore.replica`) ----------------------------------------------------------

    def follow(self, high_watermark: int) -> None:
        """Give the high watermark to a replica role: appends move it no more, and are refused until `lead`.

        `high_watermark` is where the role begins, at most the log end; what it was before does not count, for without
        a role it was the log end.
        """
        with self._writer:
            self._require_writable()
            self._follows = True
            self._log.replicate_from(high_watermark)

    def lead(self, leader_epoch: int, start_offset: int) -> None:
        """Take appends as the leader of `leader_epoch`, noted durably as starting at `start_offset` (KIP-101)."""
        with self._writer:
            self._require_writable()
            self._log.assign_epoch(leader_epoch, start_offset)
            self._log.leader_epoch = leader_epoch
            self._follows = False

    def begin_term(self) -> None:
        """Lead in a new epoch from now on, noted with the first append in it: what each start of a broker does.

        Offsets that a crash took and later records were given again then lie in two epochs, and a consumer that had
        read the first ones learns of it (KIP-320).
        """
        with self._writer:
            self._require_writable()
            self._log.leader_epoch = self._log.derived.epochs.latest_epoch + 1

    def check_records(self) -> None:
        """Look at every record of every batch that clients append from now on: what a broker owes its consumers.

        By default the records of large and of compressed batches are taken as the checksum finds them: whoever made
        them in this process may be trusted to count. Batches of a codec that is not installed still are.
        """
        with self._writer:
            self._log.check_records()

    def resign(self) -> None:
        """Take no more appends as leader; the high watermark stays the role's."""
        with self._writer:
            self._follows = True

    def append_as_follower(self, buffer: Buffer) -> Appended:
        """Store a leader's batches byte for byte; see `log.special.append_as_follower`."""
        with self._writer:
            self._require_writable()
            return append_as_follower(self._log, buffer)

    def advance_high_watermark(self, offset: int) -> None:
        """Let consumers read up to `offset`; raises `InvariantError` where that is not between it and the log end."""
        with self._writer:
            self._log.advance_high_watermark(offset)

    def start_over(self, offset: int, base_offset: int | None = None) -> None:
        """Drop the whole log and go on at `offset`, durably: the leader's log shares no offset with this one.

        `base_offset` is where the batch begins that will be appended first, at most `offset`: a leader's log may start
        in the middle of a batch. By default at `offset`.
        """
        base = offset if base_offset is None else base_offset
        with self._commit.quiet(), self._writer:
            self._require_writable()
            self.on_log_start(offset)
            self.on_rewind(min(base, self._log.recovery_point))
            truncation.start_over(self._log, offset, base)
            self._commit.restart(offset)

    def read_replica(self, offset: int, *, max_bytes: int = READ_BYTES) -> Batches:
        """Whole batches from `offset` up to the log end, committed or not: what a leader sends its followers."""
        self._require_open()
        view = self._log.view
        with self._log.health.guard("read", self._log.directory, final=False):
            return view.read(offset, max_bytes, view.log_end_offset)

    def find_damage(self, offset: int) -> int:
        """Check every byte of the segment that holds `offset`, and put aside what is damaged.

        Returns the first offset of the damage that covers or follows it, -1 for none.
        """
        with self._writer:
            view = self._log.view
            self._log.quarantine(view.segment_at(offset).path)
            damage = self._log.derived.damage
            found = [max(d.first_offset, view.log_start_offset) for d in damage if d.next_offset > offset]
        return min(found, default=-1)

    # -- state ----------------------------------------------------------------------------------------------

    @property
    def log_start_offset(self) -> int:
        """The first offset that can be read."""
        return self._log.view.log_start_offset

    @property
    def log_end_offset(self) -> int:
        """The offset that the next record will get."""
        return self._log.view.log_end_offset

    @property
    def high_watermark(self) -> int:
        """The end (exclusive) of what consumers may read; without a replica role the log end."""
        return self._log.view.high_watermark

    @property
    def last_stable_offset(self) -> int:
        """The end (exclusive) of what `read_committed` may read: the first undecided transaction's start."""
        return self._log.view.last_stable_offset

    @property
    def recovery_point(self) -> int:
        """The end (exclusive) of what is known to be on the medium."""
        return self._log.recovery_point

    @property
    def durable_offset(self) -> int:
        """Every record below this offset has been fsynced, by recovery or since."""
        return self._commit.durable_offset

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of this moment, oldest first; the last is the active one."""
        return self._log.segments

    @property
    def path(self) -> str:
        """The partition's directory."""
        return self._log.directory

    @property
    def log(self) -> Log:
        """The log underneath, for those who build brokers: epochs, producers, truncation."""
        return self._log

    def __repr__(self) -> str:
        view = self._log.view
        return f"<Partition {self.topic}-{self.index} [{view.log_start_offset}, {view.log_end_offset})>"

    # -- life -----------------------------------------------------------------------------------------------

    def delete_records(self, before_offset: int) -> int:
        """Raise the log start offset to `before_offset` and drop segments wholly below it; returns the new start.

        Raises `OffsetOutOfRange` above the high watermark, `StorageError`. A lower offset than the present start
        changes nothing. `log_start_offset` says whether it was raised before something failed.
        """
        with self._commit.quiet(), self._writer:
            self._require_writable()
            self._log.raise_log_start(before_offset, self.on_log_start)
            self._log.delete_dead_segments()
            return self._log.view.log_start_offset

    def enforce_retention(self, now_ms: int) -> int:
        """Drop the segments that `retention.ms` and `retention.bytes` let go at `now_ms`; returns the log start offset.

        Where that is all of them the active segment rolls first, so that its file goes too. Raises `StorageError`.
        """
        with self._commit.quiet(), self._writer:
            self._require_writable()
            log, view = self._log, self._log.view
            ends = (view.high_watermark, view.log_end_offset)
            start = retention.log_start_to_keep(view.segments, log.config, now_ms, *ends)
            if start == view.log_end_offset and log.segments[-1].size_bytes:
                log.roll()
            log.raise_log_start(start, self.on_log_start)
            log.delete_dead_segments()
            return log.view.log_start_offset

    def roll(self) -> None:
        """Begin a new segment, unless the active one is empty: what lies before can then be deleted whole."""
        with self._writer:
            self._require_writable()
            if self._log.segments[-1].size_bytes:
                self._log.roll()

    def truncate_to(self, offset: int, *, unclean: bool = False) -> None:
        """Drop every record at or above `offset`, as a follower does whose leader has another history.

        Views that were read before stay valid and as they were. Raises `InvariantError` below the high watermark:
        what consumers have seen is never taken back, but with `unclean`, after an election that decided to.
        """
        with self._commit.quiet(), self._writer:
            self._require_writable()
            if unclean:
                truncation.sink_high_watermark(self._log, offset)
            self._log.require_truncatable(offset)
            if offset < self._log.recovery_point:
                self._log.recovery_point = offset
                self.on_rewind(offset)
            self._log.truncate_to(offset)
            self._commit.rewind(offset)

    def reconfigure(self, config: TopicConfig) -> None:
        """Take the topic's new configuration; called by `Store.alter_topic`."""
        with self._writer:
            self._log.reconfigure(config)
            self._flush_messages = config.flush_messages

    def close(self, *, clean: bool = True) -> None:
        """Make everything durable and close the files; called by `Store.close`."""
        if self._closed:
            return
        with self._commit.quiet(), self._writer:
            if self._closed:
                return
            self._closed = True
            if clean and not self._read_only:
                self._log.close()
            else:
                self._log.abandon()

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"partition {self.topic}-{self.index} is closed")

    def _require_leadable(self) -> None:
        self._require_writable()
        if self._follows:
            raise NotLeader(f"this replica of {self.topic}-{self.index} does not lead it: ask for its leader")

    def _require_writable(self) -> None:
        self._require_open()
        if self._read_only:
            raise UsageError(
                f"{self._log.directory} is open read-only; open the store without read_only=True to append"
            )
