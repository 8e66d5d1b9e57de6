"""`kstore log dump`: what stands in Kafka's files, one plain object a batch, record, entry or line.

Owns the names under which fields are shown; they are those of `kafka-dump-log`, so that the two can be compared.
Reads files by themselves, without a store or a lock, damaged ones included: what does not parse is an object of type
`damage`, and the dump goes on behind it where it can.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kstore import compression
from kstore._native import batch as native
from kstore._native.batches import Batches
from kstore._native.segment import Segment
from kstore.errors import CorruptionError, KStoreError, NotALogDirectory
from kstore.inspect.segments import OFFSET_ENTRY, TIME_ENTRY
from kstore.log import names
from kstore.log.checkpoints import parse_clean_shutdown, parse_offsets, parse_partition_metadata
from kstore.log.disk import OsDisk
from kstore.log.epochs import parse_epochs
from kstore.log.properties import parse_properties
from kstore.log.snapshots import parse_snapshot
from kstore.log.transactions import parse_aborted

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore.log.disk import Disk

Row = dict[str, Any]


PathLike = str | os.PathLike[str]


def dump(paths: PathLike | Iterable[PathLike], *, records: bool = False, disk: Disk | None = None) -> Iterator[Row]:
    """Yield what a file, several, or every file below a directory holds.

    Every object has `type` and `file`; batches carry their header fields and whether their checksum fits, `records`
    adds an object a record behind each batch (`key`, `value` and header values as `bytes`).

    Raises `NotALogDirectory` for a missing path, `OSError` where a file cannot be read.
    """
    disk = disk or OsDisk()
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        yield from _dump_path(disk, os.fspath(path), records)


def _dump_path(disk: Disk, path: str, records: bool) -> Iterator[Row]:
    if not disk.exists(path):
        raise NotALogDirectory(f"{path} does not exist; give a segment, an index, a checkpoint or a directory")
    if disk.is_dir(path):
        for name in disk.list(path):
            below = f"{path.rstrip('/')}/{name}"
            if disk.is_dir(below) or is_dumpable(name):
                yield from _dump_path(disk, below, records)
        return
    for row in _rows(disk, path, records):
        yield {**row, "file": path}


def is_dumpable(name: str) -> bool:
    """Whether a file of that name is one that Kafka keeps in a log directory."""
    return names.parse_file_name(name) is not None or name in _TEXT_FILES or name.endswith(".checkpoint")


def _rows(disk: Disk, path: str, records: bool) -> Iterator[Row]:
    directory, _, name = path.rpartition("/")
    parsed = names.parse_file_name(name)
    data = disk.read_file(path)
    if parsed is not None and parsed.kind == "log":
        yield from _log(disk, directory or ".", path, parsed.offset, data, records, plain=not parsed.suffix)
    elif parsed is not None:
        yield from _BINARY_FILES[parsed.kind](data, parsed.offset)
    elif name in _TEXT_FILES:
        yield from _TEXT_FILES[name](data)
    elif name.endswith(".checkpoint"):
        yield from _batches(path, memoryview(data), 0, records)
    else:
        yield {"type": "damage", "position": 0, "reason": "not a file that Kafka keeps in a log directory"}


def _log(
    disk: Disk, directory: str, path: str, base: int, data: bytes, records: bool, *, plain: bool
) -> Iterator[Row]:
    view = memoryview(data)
    if not plain:
        yield from _batches(path, view, 0, records)
        return
    others = [
        file.offset
        for name in disk.list(directory)
        if (file := names.parse_file_name(name)) and file.kind == names.LOG and not file.suffix
    ]
    next_base = min((offset for offset in others if offset > base), default=-1)
    scan = Segment(disk, directory, base).scan_damage(next_base)
    stretches = sorted([*((r, True) for r in scan.good), *((r, False) for r in scan.bad)])
    for stretch, good in stretches:
        if good:
            yield from _batches(path, view[: stretch.end_position], stretch.position, records)
        else:
            yield {
                "type": "damage",
                "position": stretch.position,
                "endPosition": stretch.end_position,
                "firstOffset": stretch.first_offset,
                "nextOffset": stretch.next_offset,
                "reason": stretch.reason,
            }


def _batches(path: str, view: memoryview, position: int, records: bool) -> Iterator[Row]:
    try:
        headers = native.headers(view, position)
    except KStoreError as error:
        yield {"type": "damage", "position": position, "reason": str(error)}
        return
    for header in headers:
        batch = view[header.position : header.position + header.size_bytes]
        yield batch_row(header, batch)
        if records:
            yield from _records(path, header, batch)


def batch_row(header: BatchHeader, batch: memoryview) -> Row:
    """A batch's header under the names of kafka-dump-log."""
    try:
        native.check(batch, client=False)
        valid = True
    except KStoreError:
        valid = False
    return {
        "type": "batch",
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset,
        "count": header.records,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.leader_epoch,
        "isTransactional": header.is_transactional,
        "isControl": header.is_control,
        "deleteHorizonMs": header.base_timestamp_ms if header.has_horizon else None,
        "position": header.position,
        "timestampType": "LogAppendTime" if header.is_log_append_time else "CreateTime",
        "baseTimestamp": header.base_timestamp_ms,
        "maxTimestamp": header.max_timestamp_ms,
        "size": header.size_bytes,
        "magic": 2,
        "compresscodec": compression.codec_name(header.codec),
        "crc": header.crc,
        "isvalid": valid,
    }


def _records(path: str, header: BatchHeader, batch: memoryview) -> Iterator[Row]:
    try:
        for record in Batches(batch, file=path, position=header.position).records(control=True):
            yield {
                "type": "record",
                "offset": record.offset,
                "timestamp": record.timestamp_ms,
                "timestampType": record.timestamp_type,
                "sequence": record.sequence,
                "key": record.key,
                "value": record.value,
                "headers": list(record.headers),
            }
    except CorruptionError as damage:
        yield {"type": "damage", "position": damage.position, "reason": damage.reason}


def _offset_index(data: bytes, base: int) -> Iterator[Row]:
    for entry in _entries(data, OFFSET_ENTRY):
        yield {"type": "index", "offset": base + int(entry["relative_offset"]), "position": int(entry["position"])}


def _time_index(data: bytes, base: int) -> Iterator[Row]:
    for entry in _entries(data, TIME_ENTRY):
        yield {
            "type": "timeindex",
            "timestamp": int(entry["timestamp"]),
            "offset": base + int(entry["relative_offset"]),
        }


def _entries(data: bytes, dtype: Any) -> Any:
    """The entries before the zero padding of an index that was not closed."""
    import numpy as np

    entries = np.frombuffer(data[: len(data) - len(data) % dtype.itemsize], dtype)
    zero = np.zeros(1, dtype)[0]
    used = len(entries)
    while used > 1 and entries[used - 1] == zero:
        step = 4096
        chunk = entries[max(used - step, 1) : used]
        alive = np.flatnonzero(chunk != zero)
        used = used - len(chunk) + (int(alive[-1]) + 1 if len(alive) else 0)
        if len(alive):
            break
    return [] if used == 1 and len(entries) > 1 and entries[0] == zero else entries[:used]


def _transactions(data: bytes, base: int) -> Iterator[Row]:
    entries = parse_aborted(data, base)
    if entries is None:
        yield {"type": "damage", "position": 0, "reason": "no log can have written this transaction index"}
        return
    for entry in entries:
        yield {
            "type": "txnindex",
            "version": 0,
            "producerId": entry.producer_id,
            "firstOffset": entry.first_offset,
            "lastOffset": entry.last_offset,
            "lastStableOffset": entry.last_stable_offset,
        }


def _snapshot(data: bytes, base: int) -> Iterator[Row]:
    entries = parse_snapshot(data)
    if entries is None:
        yield {"type": "damage", "position": 0, "reason": "the snapshot's checksum or form is wrong"}
        return
    for entry in entries:
        last = entry.batches[-1] if entry.batches else None
        yield {
            "type": "snapshot",
            "producerId": entry.producer_id,
            "producerEpoch": entry.epoch,
            "coordinatorEpoch": entry.coordinator_epoch,
            "currentTxnFirstOffset": entry.txn_first_offset if entry.txn_first_offset >= 0 else None,
            "lastTimestamp": entry.last_timestamp_ms,
            "lastSequence": last.last_sequence if last else -1,
            "lastOffset": last.last_offset if last else -1,
            "offsetDelta": (last.last_offset - last.first_offset) if last else 0,
        }


def _checkpoint(data: bytes) -> Iterator[Row]:
    offsets = parse_offsets(data)
    if offsets is None:
        yield {"type": "damage", "position": 0, "reason": "not an offset checkpoint"}
        return
    for (topic, partition), offset in offsets.items():
        yield {"type": "checkpoint", "topic": topic, "partition": partition, "offset": offset}


def _epochs(data: bytes) -> Iterator[Row]:
    entries = parse_epochs(data)
    if entries is None:
        yield {"type": "damage", "position": 0, "reason": "not a leader epoch checkpoint"}
        return
    for entry in entries:
        yield {"type": "epoch", "epoch": entry.epoch, "startOffset": entry.start_offset}


def _metadata(data: bytes) -> Iterator[Row]:
    topic_id = parse_partition_metadata(data)
    if topic_id is None:
        yield {"type": "damage", "position": 0, "reason": "not a partition.metadata"}
    else:
        yield {"type": "metadata", "version": 0, "topicId": names.uuid_to_text(topic_id)}


def _properties(data: bytes) -> Iterator[Row]:
    properties = parse_properties(data)
    if properties is None:
        yield {"type": "damage", "position": 0, "reason": "not a properties file"}
    else:
        yield {"type": "properties", "properties": properties}


def _clean(data: bytes) -> Iterator[Row]:
    epoch = parse_clean_shutdown(data)
    if epoch is None and data:
        yield {"type": "damage", "position": 0, "reason": "not a clean-shutdown marker"}
    else:
        yield {"type": "cleanshutdown", "brokerEpoch": epoch}


_BINARY_FILES = {
    "index": _offset_index,
    "timeindex": _time_index,
    "txnindex": _transactions,
    "snapshot": _snapshot,
}
_TEXT_FILES = {
    names.RECOVERY_POINTS_FILE: _checkpoint,
    names.LOG_STARTS_FILE: _checkpoint,
    names.HIGH_WATERMARKS_FILE: _checkpoint,
    names.CLEANER_OFFSETS_FILE: _checkpoint,
    names.EPOCHS_FILE: _epochs,
    names.PARTITION_METADATA_FILE: _metadata,
    names.META_PROPERTIES_FILE: _properties,
    names.CLEAN_SHUTDOWN_FILE: _clean,
}
