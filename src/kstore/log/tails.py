"""Tail checkpoints: how far a log was intact at its last flush, so that recovery reads only what came after.

Two files take turns, `kstore-tail-0` and `-1`, each written (never synced) after the log bytes below its position
were: a checkpoint is a true statement about bytes on the medium, whatever becomes of the file. A torn write leaves
the other one, a lost pair costs a scan from the recovery point.

True once is not true for ever: a truncation, by kstore or by a Kafka that ran in between, may have cut the log below
the position and other batches may have grown there. So a checkpoint remembers the last batch below its position, and
counts only while that batch is there, bit by bit (`tail_fits`): an equal batch of the same leader epoch at the same
offset has an equal history below it.

Invariants
1. `write` is called only after the segment's bytes below `position` were flushed.
2. Of two checkpoints that fit, the one written later wins.
3. The producer states are those of all batches below `next_offset`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kstore import limits
from kstore.log import names
from kstore.log.digests import NO_FILE, FileDigest
from kstore.log.producers import ProducerEntry, StoredBatch
from kstore.log.sidecars import crc32c, read_sealed, seal

if TYPE_CHECKING:
    from kstore._native.file import File
    from kstore._native.segment import Segment
    from kstore.log.disk import Disk

KIND = b"tail"
VERSION = 1
_TAIL = struct.Struct(">qqqqIqqqqqiIqI")
_COUNT = struct.Struct(">I")
_PRODUCER = struct.Struct(">qhiqqB")
_BATCH = struct.Struct(">iqiq")
_HEADER = struct.Struct(">qiibIhi")  # base offset, length, leader epoch, magic, CRC, attributes, last offset delta
_CRC_FROM = 21


class BatchMark(NamedTuple):
    """A batch in the log, in enough detail to recognise it."""

    position: int
    size_bytes: int
    base_offset: int
    leader_epoch: int
    crc: int


class TailCheckpoint(NamedTuple):
    """Everything below `position` in the segment is intact and on the medium; the state of the log right there."""

    segment_base_offset: int
    position: int
    next_offset: int
    header_digest: int  # CRC-32C over the first 21 bytes of every batch below position
    max_timestamp_ms: int  # -1: none
    max_timestamp_offset: int
    last_batch: BatchMark | None  # None: the segment is empty
    producers: tuple[ProducerEntry, ...]
    txn_index: FileDigest = NO_FILE  # of the segment's aborted transactions with a marker below position
    sequence: int = 0  # of the write; set by `TailFiles`

    @classmethod
    def of(
        cls, segment: Segment, producers: Iterable[ProducerEntry], txn_index: FileDigest = NO_FILE
    ) -> TailCheckpoint | None:
        """The state of an open segment now, to be written once it is flushed; None when its digest is not known."""
        if segment.header_digest is None:
            return None
        mark = None
        if segment.size_bytes:
            last = segment.headers(segment.lookup(segment.next_offset - 1))[-1]
            mark = BatchMark(last.position, last.size_bytes, last.base_offset, last.leader_epoch, last.crc)
        return cls(
            segment.base_offset,
            segment.size_bytes,
            segment.next_offset,
            segment.header_digest,
            segment.max_timestamp_ms,
            segment.max_timestamp_offset,
            mark,
            tuple(entry.copy() for entry in producers),
            txn_index,
        )


_EMPTY = BatchMark(-1, 0, -1, -1, 0)


def format_tail(tail: TailCheckpoint) -> bytes:
    """The bytes of a tail checkpoint file."""
    mark = tail.last_batch or _EMPTY
    parts = [_TAIL.pack(tail.sequence, *tail[:6], *mark, *tail.txn_index), _COUNT.pack(len(tail.producers))]
    for entry in tail.producers:
        parts.append(
            _PRODUCER.pack(
                entry.producer_id,
                entry.epoch,
                entry.coordinator_epoch,
                entry.last_timestamp_ms,
                entry.txn_first_offset,
                len(entry.batches),
            )
        )
        parts.extend(_BATCH.pack(*batch) for batch in entry.batches)
    return seal(KIND, VERSION, b"".join(parts))


def parse_tail(payload: bytes) -> TailCheckpoint | None:
    """Reads the payload of a tail checkpoint; None when it is none."""
    try:
        sequence, segment, position, offset, digest, timestamp, timestamp_offset, *mark = _TAIL.unpack_from(payload)
        (count,) = _COUNT.unpack_from(payload, _TAIL.size)
        at = _TAIL.size + _COUNT.size
        producers = []
        for _ in range(count):
            producer_id, epoch, coordinator_epoch, timestamp_ms, txn, batches = _PRODUCER.unpack_from(payload, at)
            at += _PRODUCER.size
            end = at + batches * _BATCH.size
            producers.append(
                ProducerEntry(
                    producer_id,
                    epoch,
                    coordinator_epoch=coordinator_epoch,
                    last_timestamp_ms=timestamp_ms,
                    txn_first_offset=txn,
                    batches=[StoredBatch(*batch) for batch in _BATCH.iter_unpack(payload[at:end])],
                )
            )
            at = end
    except struct.error:
        return None
    last_batch = BatchMark(*mark[:5])
    return TailCheckpoint(
        segment,
        position,
        offset,
        digest,
        timestamp,
        timestamp_offset,
        None if last_batch == _EMPTY else last_batch,
        tuple(producers),
        FileDigest(*mark[5:]),
        sequence,
    )


def tail_fits(tail: TailCheckpoint, log_file: File) -> bool:
    """Whether the log still holds, up to the checkpoint's position, what it held when the checkpoint was made."""
    mark = tail.last_batch
    if mark is None:
        return tail.position == 0 and tail.next_offset == tail.segment_base_offset
    if mark.size_bytes < limits.BATCH_HEADER_BYTES or mark.position + mark.size_bytes != tail.position:
        return False
    batch = log_file.read_at(mark.position, mark.size_bytes)
    if len(batch) < mark.size_bytes:
        return False
    base_offset, length, leader_epoch, magic, crc, _, last_offset_delta = _HEADER.unpack_from(batch)
    return (
        (base_offset, leader_epoch, crc) == (mark.base_offset, mark.leader_epoch, mark.crc)
        and (length + limits.BATCH_OVERHEAD_BYTES, magic) == (mark.size_bytes, 2)
        and base_offset + last_offset_delta + 1 == tail.next_offset
        and crc32c(batch[_CRC_FROM:]) == crc
    )


class TailFiles:
    """The two files of one partition. Not thread-safe: one flush at a time writes here."""

    __slots__ = ("_directory", "_disk", "_sequence")

    def __init__(self, disk: Disk, directory: str) -> None:
        """Does no I/O."""
        self._disk = disk
        self._directory = directory
        self._sequence = -1  # of the last write, -1: not known yet

    def write(self, tail: TailCheckpoint) -> None:
        """Writes over the older of the two files. The log bytes below `tail.position` must be flushed."""
        if self._sequence < 0:
            self._sequence = max((known.sequence for known in self._read()), default=0)
        numbered = tail._replace(sequence=self._sequence + 1)
        self._disk.write_file(self._path(numbered.sequence), format_tail(numbered))
        self._sequence = numbered.sequence

    def newest(self, fits: Callable[[TailCheckpoint], bool]) -> TailCheckpoint | None:
        """The checkpoint written last of those that are whole and for which `fits` holds."""
        for tail in sorted(self._read(), key=lambda known: -known.sequence):
            if fits(tail):
                return tail
        return None

    def usable(self, paths: Mapping[int, str]) -> TailCheckpoint | None:
        """The newest checkpoint whose log bytes are still there, `paths` being the logs by base offset. `OSError`."""

        def fits(tail: TailCheckpoint) -> bool:
            path = paths.get(tail.segment_base_offset)
            if path is None:
                return False
            file = self._disk.open_file(path, writable=False)
            try:
                return tail_fits(tail, file)
            finally:
                file.close()

        return self.newest(fits)

    def remove(self) -> None:
        """Removes both: the log is about to be cut or emptied."""
        for name in names.TAIL_FILES:
            path = f"{self._directory}/{name}"
            if self._disk.exists(path):
                self._disk.unlink(path)

    def _read(self) -> list[TailCheckpoint]:
        payloads = (read_sealed(self._disk, f"{self._directory}/{name}", KIND, VERSION) for name in names.TAIL_FILES)
        tails = (None if payload is None else parse_tail(payload) for payload in payloads)
        return [tail for tail in tails if tail is not None]

    def _path(self, sequence: int) -> str:
        return f"{self._directory}/{names.TAIL_FILES[sequence % 2]}"
