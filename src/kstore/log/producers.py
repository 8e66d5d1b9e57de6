"""What a partition remembers of each producer: sequences, epochs and open transactions (KIP-98, KIP-360, KIP-890).

Decides whether a batch with a producer id may be appended (`check`, which changes nothing), takes note of batches
that were (`apply`, on append and on replay after a restart), and says up to where transactions are decided. Knows no
disk and no clock: `snapshots` keeps the states in files, the log asks for them, `now_ms` is handed in.

Invariants
1. `check` never changes state; `apply` never refuses: what the log holds is history, however odd.
2. Per producer at most five batches are remembered, all of its current epoch, in the order of their offsets.
3. `txn_first_offset` of an entry is set exactly while that offset is a key of the open transactions.
4. The last stable offset is never above the high watermark and never above the start of an undecided transaction.

Semantics as in Apache Kafka's ProducerStateManager, ProducerAppendInfo and ProducerStateEntry (4.x).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from kstore import limits
from kstore._native.scan import ProducerBatch as ProducerBatch
from kstore.errors import (
    DuplicateSequence,
    InvalidBatch,
    InvalidProducerEpoch,
    InvalidTxnState,
    OutOfOrderSequence,
    TransactionCoordinatorFenced,
)

NO_EPOCH = -1
NO_SEQUENCE = -1
NO_OFFSET = -1
NO_TIMESTAMP_MS = -1
COMMIT = "commit"
ABORT = "abort"

_SEQUENCES = limits.INT32_MAX + 1


class Origin(Enum):
    """Who sent a batch, which decides how much of it is checked."""

    CLIENT = "client"  # epochs, sequences, duplicates, transaction state
    COORDINATOR = "coordinator"  # epochs and transaction state: markers and offset commits carry no sequences
    REPLICATION = "replication"  # nothing: the leader has checked


class StoredBatch(NamedTuple):
    """A batch that is in the log, remembered so that its repetition is recognised."""

    last_sequence: int
    last_offset: int
    offset_delta: int  # last offset less first offset, and so also last sequence less first
    timestamp_ms: int

    @property
    def first_offset(self) -> int:
        """The batch's base offset."""
        return self.last_offset - self.offset_delta

    @property
    def first_sequence(self) -> int:
        """The batch's base sequence, or `NO_SEQUENCE`."""
        if self.last_sequence < 0:
            return NO_SEQUENCE
        return (self.last_sequence - self.offset_delta) % _SEQUENCES


class Duplicate(NamedTuple):
    """The batch is in the log already: a success that answers with the offsets it has there (both inclusive)."""

    base_offset: int
    last_offset: int
    timestamp_ms: int


class CompletedTransaction(NamedTuple):
    """A marker decided a transaction that had data here. `last_offset` is the marker's.

    `last_stable_offset` is the first offset of the oldest transaction of other producers that was open then, else the
    offset behind the marker: the column of the transaction index.
    """

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int
    aborted: bool


class ProducerEntry:
    """One producer's state. Mutable; only `ProducerStates` changes it."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "epoch",
        "last_timestamp_ms",
        "producer_id",
        "txn_first_offset",
    )

    def __init__(
        self,
        producer_id: int,
        epoch: int = NO_EPOCH,
        *,
        coordinator_epoch: int = -1,
        last_timestamp_ms: int = NO_TIMESTAMP_MS,
        txn_first_offset: int = NO_OFFSET,
        batches: Iterable[StoredBatch] = (),
    ) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.coordinator_epoch = coordinator_epoch
        self.last_timestamp_ms = last_timestamp_ms
        self.txn_first_offset = txn_first_offset
        self.batches = list(batches)  # oldest first

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest batch of this epoch, or `NO_SEQUENCE`."""
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def next_sequence(self) -> int:
        """The sequence with which the next batch of this epoch begins: 0 for the first, and again after 2^31-1."""
        return (self.batches[-1].last_sequence + 1) % _SEQUENCES if self.batches else 0

    def copy(self) -> ProducerEntry:
        """An independent copy."""
        return ProducerEntry(
            self.producer_id,
            self.epoch,
            coordinator_epoch=self.coordinator_epoch,
            last_timestamp_ms=self.last_timestamp_ms,
            txn_first_offset=self.txn_first_offset,
            batches=self.batches,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProducerEntry):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"ProducerEntry({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def is_expired(self, now_ms: int, expiration_ms: int) -> bool:
        """Idle for `expiration_ms` and without an open transaction."""
        return self.txn_first_offset < 0 and now_ms - self.last_timestamp_ms >= expiration_ms

    def duplicate_of(self, batch: ProducerBatch) -> Duplicate | None:
        """The remembered batch with exactly the sequences of `batch`, in the same epoch."""
        if batch.producer_epoch == self.epoch and batch.base_sequence != self.next_sequence:
            for stored in self.batches:  # the last sequence first: it is stored, the first one is computed
                if stored.last_sequence == batch.last_sequence and stored.first_sequence == batch.base_sequence:
                    return Duplicate(stored.first_offset, stored.last_offset, stored.timestamp_ms)
        return None

    def take(self, batch: ProducerBatch) -> None:
        """Moves the state past a batch, data or marker, that follows it in the log."""
        if batch.producer_epoch != self.epoch:
            self.batches.clear()
            self.epoch = batch.producer_epoch
        self.last_timestamp_ms = batch.timestamp_ms
        if batch.control_type is not None:
            self.coordinator_epoch = batch.coordinator_epoch
            self.txn_first_offset = NO_OFFSET
            return
        if len(self.batches) == limits.PRODUCER_BATCHES_REMEMBERED:
            del self.batches[0]
        delta = batch.last_offset - batch.base_offset
        self.batches.append(StoredBatch(batch.last_sequence, batch.last_offset, delta, batch.timestamp_ms))
        if batch.transactional and self.txn_first_offset < 0:
            self.txn_first_offset = batch.base_offset


class ProducerStates:
    """The producers of one partition. Not thread-safe: its partition's writer lock guards it."""

    __slots__ = ("_decided", "_entries", "_open", "end_offset")

    def __init__(self, end_offset: int = 0) -> None:
        self.end_offset = end_offset
        """Every batch below it is in these states; a snapshot of them is named by it."""
        self._entries: dict[int, ProducerEntry] = {}
        self._open: dict[int, int] = {}  # first offset -> producer id; offsets rise, so the first key is the oldest
        self._decided: dict[int, int] = {}  # first offset -> offset of a marker not yet below the high watermark

    @classmethod
    def from_entries(cls, entries: Iterable[ProducerEntry], end_offset: int) -> ProducerStates:
        """States as a snapshot or tail checkpoint at `end_offset` has them."""
        states = cls(end_offset)
        for entry in entries:
            states._entries[entry.producer_id] = entry.copy()
        opened = ((e.txn_first_offset, e.producer_id) for e in states._entries.values() if e.txn_first_offset >= 0)
        states._open = dict(sorted(opened))
        return states

    # -- what it holds --

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterator[ProducerEntry]:
        """All entries; they change with the next `apply`."""
        return iter(self._entries.values())

    def entry(self, producer_id: int) -> ProducerEntry | None:
        """One producer's entry."""
        return self._entries.get(producer_id)

    def copy(self) -> ProducerStates:
        """An independent copy."""
        twin = ProducerStates(self.end_offset)
        twin._entries = {producer_id: entry.copy() for producer_id, entry in self._entries.items()}
        twin._open = self._open.copy()
        twin._decided = self._decided.copy()
        return twin

    @property
    def open_transactions(self) -> tuple[tuple[int, int], ...]:
        """(first offset, producer id) of every undecided transaction, oldest first."""
        return tuple(self._open.items())

    @property
    def first_undecided_offset(self) -> int | None:
        """Where the oldest open transaction starts."""
        return next(iter(self._open), None)

    def last_stable_offset(self, high_watermark: int, log_start_offset: int = 0) -> int:
        """Below it every transaction is decided, and its marker is below `high_watermark`.

        Forgets decided transactions whose marker the high watermark has passed, so it must not fall between calls.
        """
        if self._decided:
            self._decided = {first: marker for first, marker in self._decided.items() if marker >= high_watermark}
        if not self._open and not self._decided:
            return high_watermark
        first_unstable = min(next(iter(self._open), high_watermark), min(self._decided, default=high_watermark))
        return min(max(first_unstable, log_start_offset), high_watermark)

    # -- may it be appended? --

    def check(
        self, batch: ProducerBatch, *, origin: Origin = Origin.CLIENT, transaction_version: int = 0
    ) -> Duplicate | None:
        """Whether `batch` may be appended: None yes, a `Duplicate` when a client's batch is in the log already.

        `transaction_version` is what the coordinator said, or what a client's transaction is known to use. From 2
        on (KIP-890) a marker's epoch must be above the producer's, unless it repeats one that ended the transaction,
        and an unknown producer must begin with sequence 0; before, unknown producers may begin anywhere, because
        retention may have taken their state. Raises `OutOfOrderSequence`, `InvalidProducerEpoch`,
        `InvalidTxnState`, `TransactionCoordinatorFenced` or `InvalidBatch`.
        """
        entry = self._entries.get(batch.producer_id)
        if origin is Origin.CLIENT and entry is not None:
            duplicate = entry.duplicate_of(batch)
            if duplicate is not None:
                return duplicate
        _check_append(entry, batch, origin, transaction_version)
        return None

    def check_all(
        self,
        batches: Sequence[ProducerBatch],
        *,
        origin: Origin = Origin.CLIENT,
        transaction_version: int = 0,
    ) -> Duplicate | None:
        """As `check`, for the batches of one append, each judged as if those before it were in the log.

        All of them duplicates: a `Duplicate` from the first to the last. Some: `DuplicateSequence`, because the
        append is one and cannot be answered with offsets for half of it.
        """
        if len(batches) == 1:
            return self.check(batches[0], origin=origin, transaction_version=transaction_version)
        ahead: dict[int, ProducerEntry] = {}
        duplicates: list[Duplicate] = []
        for batch in batches:
            entry = ahead.get(batch.producer_id) or self._entries.get(batch.producer_id)
            if origin is Origin.CLIENT and entry is not None:
                duplicate = entry.duplicate_of(batch)
                if duplicate is not None:
                    duplicates.append(duplicate)
                    continue
            _check_append(entry, batch, origin, transaction_version)
            ahead[batch.producer_id] = entry.copy() if entry is not None else ProducerEntry(batch.producer_id)
            ahead[batch.producer_id].take(batch)
        if not duplicates:
            return None
        if len(duplicates) < len(batches):
            raise DuplicateSequence(
                f"{len(duplicates)} of the {len(batches)} batches of this append are in the log already; "
                "send the others alone"
            )
        return Duplicate(
            min(duplicate.base_offset for duplicate in duplicates),
            max(duplicate.last_offset for duplicate in duplicates),
            max(duplicate.timestamp_ms for duplicate in duplicates),
        )

    # -- it was appended --

    def apply(self, batch: ProducerBatch) -> CompletedTransaction | None:
        """Takes note of a batch that is in the log at its offsets, in order; also on replay.

        A marker that decides a transaction with data here gives that transaction back; an aborted one belongs into
        the transaction index of the segment that holds the marker.
        """
        entry = self._entries.get(batch.producer_id)
        if entry is None:
            entry = self._entries[batch.producer_id] = ProducerEntry(batch.producer_id)
        opened = entry.txn_first_offset
        entry.take(batch)
        self.end_offset = batch.last_offset + 1
        if batch.control_type is None:
            if entry.txn_first_offset != opened:
                self._open[entry.txn_first_offset] = batch.producer_id
            return None
        if opened < 0:
            return None
        del self._open[opened]
        self._decided[opened] = batch.base_offset
        stable = next(iter(self._open), batch.base_offset + 1)
        return CompletedTransaction(batch.producer_id, opened, batch.base_offset, stable, batch.control_type == ABORT)

    def advance(self, end_offset: int) -> None:
        """Batches without a producer id reach up to `end_offset`."""
        self.end_offset = max(self.end_offset, end_offset)

    def on_log_start(self, log_start_offset: int) -> None:
        """The log now starts at `log_start_offset`; transactions decided below it hold nothing back any more."""
        self._decided = {first: marker for first, marker in self._decided.items() if marker >= log_start_offset}
        self.advance(log_start_offset)

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forgets the producers idle for `expiration_ms` (`producer.id.expiration.ms`); how many.

        By the clock, and by the newest batch of any producer: Kafka asks the clock alone, and one that jumps ahead
        would make it forget all of them, and store the batch that one of them sends again a second time.
        """
        newest_ms = max((entry.last_timestamp_ms for entry in self._entries.values()), default=now_ms)
        now_ms = min(now_ms, newest_ms)
        expired = [key for key, entry in self._entries.items() if entry.is_expired(now_ms, expiration_ms)]
        for producer_id in expired:
            del self._entries[producer_id]
        return len(expired)

    def clear(self, end_offset: int) -> None:
        """Forgets everything: the log now starts and ends at `end_offset`."""
        self._entries.clear()
        self._open.clear()
        self._decided.clear()
        self.end_offset = end_offset


# -- the rules ---------------------------------------------------------------------------------------------------


def _check_append(entry: ProducerEntry | None, batch: ProducerBatch, origin: Origin, version: int) -> None:
    if origin is Origin.REPLICATION:
        return
    if batch.control_type is not None:
        if entry is not None:
            _check_marker(entry, batch, version)
        return
    if entry is not None and batch.producer_epoch < entry.epoch:
        raise _fenced(entry, batch)
    if origin is Origin.CLIENT:
        _check_sequence(entry, batch, version)
    if entry is not None and entry.txn_first_offset >= 0 and not batch.transactional:
        raise InvalidTxnState(
            f"producer {batch.producer_id} has a transaction open since offset {entry.txn_first_offset}; "
            "its batches must be transactional until a marker ends it"
        )


def _check_marker(entry: ProducerEntry, batch: ProducerBatch, version: int) -> None:
    if version >= 2:
        repeated = batch.producer_epoch == entry.epoch and entry.txn_first_offset < 0
        if batch.producer_epoch <= entry.epoch and not repeated:
            raise _fenced(entry, batch)
    elif batch.producer_epoch < entry.epoch:
        raise _fenced(entry, batch)
    if batch.coordinator_epoch < entry.coordinator_epoch:
        raise TransactionCoordinatorFenced(
            f"marker for producer {batch.producer_id} from coordinator epoch {batch.coordinator_epoch}; "
            f"epoch {entry.coordinator_epoch} has taken over"
        )


def _check_sequence(entry: ProducerEntry | None, batch: ProducerBatch, version: int) -> None:
    first = batch.base_sequence
    if first < 0:
        raise InvalidBatch(f"producer {batch.producer_id} sent a batch without a sequence")
    if entry is None or entry.epoch == NO_EPOCH:
        expected = 0 if version >= 2 else first
    elif batch.producer_epoch != entry.epoch:
        expected = 0
    else:
        expected = entry.next_sequence
    if first != expected:
        raise OutOfOrderSequence(
            f"producer {batch.producer_id}, epoch {batch.producer_epoch}: sequence {first} came, {expected} is next"
        )


def _fenced(entry: ProducerEntry, batch: ProducerBatch) -> InvalidProducerEpoch:
    what = "batch" if batch.control_type is None else "marker"
    return InvalidProducerEpoch(
        f"{what} of producer {batch.producer_id} with epoch {batch.producer_epoch}: epoch {entry.epoch} is the latest"
    )
