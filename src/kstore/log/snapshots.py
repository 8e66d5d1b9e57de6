"""Producer states in files: Kafka's `.snapshot`, version 1.

Owns the bytes, and which snapshot files a partition directory keeps. A snapshot named by offset N holds the states of
all batches below N. Every snapshot may be lost: the states are then rebuilt from an older one, or from the log alone.
The log writes one at every roll and at a clean close; the loader reads the newest that is intact.

Only the last batch of a producer fits the format, so after a restart a repetition of an older one is no longer
recognised (kstore's tail checkpoint keeps all five).

Invariants
1. `parse_snapshot` returns entries or None; any flipped bit and any truncation gives None.
2. A damaged snapshot is never an empty one.

Layout in docs/FORMAT.md, "Producer snapshot"; as Apache Kafka's ProducerStateManager writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from kstore.log import names
from kstore.log.producers import NO_OFFSET, NO_SEQUENCE, ProducerEntry, ProducerStates, StoredBatch
from kstore.log.sidecars import crc32c, read_optional

if TYPE_CHECKING:
    from kstore.log.disk import Disk

VERSION = 1
_HEAD = struct.Struct(">hI")  # version, CRC-32C of everything behind it
_COUNT = struct.Struct(">i")
_ENTRY = struct.Struct(">qhiqiqiq")
"""producer id, epoch, last sequence, last offset, offset delta, timestamp, coordinator epoch, first offset of the
open transaction"""


class LoadedSnapshot(NamedTuple):
    """The newest intact snapshot, and the offsets of newer ones that are damaged.

    `offset` is -1, and there are no entries, when none is intact.
    """

    offset: int
    entries: tuple[ProducerEntry, ...]
    damaged: tuple[int, ...]


def format_snapshot(entries: Iterable[ProducerEntry]) -> bytes:
    """The bytes of a `.snapshot` with these entries, in their order."""
    packed = [
        _ENTRY.pack(
            entry.producer_id,
            entry.epoch,
            *((entry.batches[-1][:3]) if entry.batches else (NO_SEQUENCE, NO_OFFSET, 0)),
            entry.last_timestamp_ms,
            entry.coordinator_epoch,
            entry.txn_first_offset,
        )
        for entry in entries
    ]
    body = _COUNT.pack(len(packed)) + b"".join(packed)
    return _HEAD.pack(VERSION, crc32c(body)) + body


def parse_snapshot(data: bytes) -> tuple[ProducerEntry, ...] | None:
    """Reads a `.snapshot`; None when a byte of it is wrong or missing."""
    if len(data) < _HEAD.size + _COUNT.size:
        return None
    version, crc = _HEAD.unpack_from(data)
    if version != VERSION or crc != crc32c(data[_HEAD.size :]):
        return None
    (count,) = _COUNT.unpack_from(data, _HEAD.size)
    entries_at = _HEAD.size + _COUNT.size
    if len(data) != entries_at + count * _ENTRY.size:
        return None
    return tuple(map(_entry, _ENTRY.iter_unpack(data[entries_at:])))


def _entry(fields: tuple[int, ...]) -> ProducerEntry:
    producer_id, epoch, sequence, offset, delta, timestamp_ms, coordinator_epoch, txn_first_offset = fields
    return ProducerEntry(
        producer_id,
        epoch,
        coordinator_epoch=coordinator_epoch,
        last_timestamp_ms=timestamp_ms,
        txn_first_offset=max(txn_first_offset, NO_OFFSET),
        batches=[StoredBatch(sequence, offset, delta, timestamp_ms)] if offset >= 0 else [],
    )


def write_snapshot(disk: Disk, directory: str, states: ProducerStates, *, sync: bool = True) -> str:
    """Writes the snapshot of `states` at their end offset; its path. `sync=False` for what a rebuild could give."""
    path = f"{directory}/{names.snapshot_name(states.end_offset)}"
    data = format_snapshot(states.entries())
    if sync:
        disk.write_file_atomic(path, data)
    else:
        disk.write_file(path, data)
    return path


def load_snapshot(disk: Disk, directory: str, not_after: int, *, not_before: int = 0) -> LoadedSnapshot:
    """The newest intact snapshot with `not_before <= offset <= not_after`. Removes nothing."""
    damaged: list[int] = []
    for offset in reversed(snapshot_offsets(disk.list(directory))):
        if not_before <= offset <= not_after:
            data = read_optional(disk, f"{directory}/{names.snapshot_name(offset)}")
            entries = None if data is None else parse_snapshot(data)
            if entries is not None:
                return LoadedSnapshot(offset, entries, tuple(damaged))
            damaged.append(offset)
    return LoadedSnapshot(-1, (), tuple(damaged))


def snapshot_offsets(file_names: Iterable[str]) -> list[int]:
    """The offsets of the snapshots among the names of a partition directory, rising."""
    parsed = (names.parse_file_name(name) for name in file_names)
    return sorted(file.offset for file in parsed if file and file.kind == names.SNAPSHOT and not file.suffix)


def stray_snapshots(
    offsets: Iterable[int],
    segment_base_offsets: Iterable[int],
    log_start_offset: int,
    log_end_offset: int,
) -> list[int]:
    """Which snapshots to remove when a log is loaded (Kafka's removeStraySnapshots and truncateAndReload).

    Kept are those at a segment's base offset and the newest of the others when it lies above all segments' (a clean
    close wrote it); of these, none at or below the log start. None above the log end is kept: they speak of batches
    that are gone. Those go first, where Kafka looks for the newest first: a crash may bring some of the removed ones
    back, and which is the newest must not depend on that.
    """
    known = sorted(offsets)
    bases = set(segment_base_offsets)
    others = [offset for offset in known if offset not in bases and offset <= log_end_offset]
    keep = bases
    if others and others[-1] > max(bases, default=-1):
        keep = bases | {others[-1]}
    return [offset for offset in known if offset not in keep or not log_start_offset < offset <= log_end_offset]
