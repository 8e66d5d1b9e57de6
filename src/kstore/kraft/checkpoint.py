"""Files of metadata records that a controller loads whole: `bootstrap.checkpoint` and snapshots.

Owns their framing. Pure: bytes out. Called by `graduation`.

A checkpoint is record batches of magic 2 from offset 0 on, uncompressed and without producer: a control batch with
the snapshot header, batches of metadata records (key null), a control batch with the footer (KIP-630;
org.apache.kafka.snapshot.RecordsSnapshotWriter). Batches are built here and not by the log's encoder because that
one, rightly, cannot make control batches.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from kstore._native.crc32c import crc32c
from kstore.primitives import Writer

RECORDS_PER_BATCH: Final = 1000
"""Far below the controller's limit of 10,000 records for one append."""

_CONTROL = 0x20
_SNAPSHOT_HEADER, _SNAPSHOT_FOOTER = 3, 4
# base offset, length, leader epoch, magic, crc | attributes, last offset delta, base and max timestamp,
# producer id, producer epoch, base sequence, count
_HEAD = struct.Struct(">qiibI")
_BODY = struct.Struct(">hiqqqhii")


def encode_checkpoint(values: Sequence[bytes], timestamp_ms: int) -> bytes:
    """The file that holds these metadata records, in this order; every batch is stamped `timestamp_ms`."""
    header = bytes(Writer().int16(0).int64(0).tagged_fields())  # version 0; the time of the last record in a log: none
    footer = bytes(Writer().int16(0).tagged_fields())
    parts = [_batch(0, _CONTROL, [(_control_key(_SNAPSHOT_HEADER), header)], timestamp_ms)]
    offset = 1
    for start in range(0, len(values), RECORDS_PER_BATCH):
        some = values[start : start + RECORDS_PER_BATCH]
        parts.append(_batch(offset, 0, [(None, value) for value in some], timestamp_ms))
        offset += len(some)
    parts.append(_batch(offset, _CONTROL, [(_control_key(_SNAPSHOT_FOOTER), footer)], timestamp_ms))
    return b"".join(parts)


def _control_key(kind: int) -> bytes:
    return struct.pack(">hh", 0, kind)


_Records = Sequence[tuple[bytes | None, bytes]]


def _batch(base_offset: int, attributes: int, records: _Records, timestamp_ms: int) -> bytes:
    last = len(records) - 1
    body = _BODY.pack(attributes, last, timestamp_ms, timestamp_ms, -1, -1, -1, len(records))
    body += b"".join(_record(delta, key, value) for delta, (key, value) in enumerate(records))
    length = _HEAD.size - 12 + len(body)  # the length counts what follows itself: 12 bytes are before that
    return _HEAD.pack(base_offset, length, 0, 2, crc32c(body)) + body


def _record(offset_delta: int, key: bytes | None, value: bytes) -> bytes:
    writer = Writer().int8(0).varint(0)  # attributes, timestamp delta
    writer.varint(offset_delta << 1)  # zigzag, as the lengths below
    if key is None:
        writer.varint(1)  # -1
    else:
        writer.varint(len(key) << 1).raw(key)
    writer.varint(len(value) << 1).raw(value).varint(0)  # no headers
    body = bytes(writer)
    return bytes(Writer().varint(len(body) << 1).raw(body))
