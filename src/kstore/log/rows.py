"""From a batch header to the row that producer state understands.

Owns the translation only: which batches concern producers at all, and what a control record says. Called by
`loader` and `special`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

from kstore._native.batches import Batches
from kstore.log.producers import ProducerBatch

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore._native.segment import ProducerBatch as ScannedBatch
    from kstore._native.segment import Segment

MARKERS: Final[dict[int, Literal["abort", "commit"]]] = {0: "abort", 1: "commit"}
"""Types of control records that end a transaction (ControlRecordType)."""
CONTROL_KEY = struct.Struct(">hh")
"""Version and type."""
MARKER_VALUE = struct.Struct(">hi")
"""Version and coordinator epoch (EndTransactionMarker)."""


def row_of_header(header: BatchHeader, segment: Segment) -> ProducerBatch | None:
    """The row of a stored batch known by its header; None where it concerns no producer.

    A control batch is read for its marker: one record of 78 bytes.
    """
    if header.producer_id < 0 or (header.is_control and header.records == 0):
        return None
    if not header.is_control:
        return row_of_data(header, header.base_offset)
    return row_of_marker(segment.read(header.position, header.position + header.size_bytes))


def row_of_marker(batch: memoryview) -> ProducerBatch | None:
    """The row of a stored control batch; None for control records that end no transaction."""
    record = next(iter(Batches(batch).records(control=True)), None)
    if record is None or record.key is None or len(record.key) < CONTROL_KEY.size:
        return None
    marker = MARKERS.get(CONTROL_KEY.unpack_from(record.key)[1])
    if marker is None or record.producer_id < 0:
        return None
    value = record.value or b""
    epoch = MARKER_VALUE.unpack_from(value)[1] if len(value) >= MARKER_VALUE.size else -1
    return ProducerBatch(
        record.offset,
        record.offset,
        record.producer_id,
        record.producer_epoch,
        -1,
        -1,
        True,
        marker,
        epoch,
        -1 if record.timestamp_ms is None else record.timestamp_ms,
    )


def row_of_data(header: BatchHeader, base_offset: int) -> ProducerBatch:
    """The row of a data batch that is stored, or is to be stored, at `base_offset`."""
    return ProducerBatch(
        base_offset,
        base_offset + header.last_offset_delta,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence,
        header.is_transactional,
        None,
        -1,
        header.max_timestamp_ms,
    )


def row_of_scan(row: ScannedBatch) -> ProducerBatch | None:
    """The row of a batch as a recovery scan reports it; None for control records that end no transaction."""
    marker = MARKERS.get(row.control_type)
    if row.producer_id < 0 or (row.control_type >= 0 and marker is None):
        return None
    return ProducerBatch(
        row.base_offset,
        row.last_offset,
        row.producer_id,
        row.producer_epoch,
        row.base_sequence,
        row.last_sequence,
        bool(row.attributes & 0x10),
        marker,
        row.coordinator_epoch,
        row.max_timestamp_ms,
    )
