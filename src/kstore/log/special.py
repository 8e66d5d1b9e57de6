"""Appends that need more than a check and a stamp: producers, markers, other codecs, LogAppendTime, followers.

Owns the path of every batch that `Log` does not store as it came. One batch at a time, each whole or not at all.
Called by `log` only.

Invariants: producer state changes after the batch is in the log and before it is published, so that a failed write
changes neither and a reader never sees a last stable offset above an open transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore import compression
from kstore._native import batch as native
from kstore._native.batches import Batches
from kstore._native.records import Encoder, encode_marker
from kstore._native.scan import producer_batch
from kstore.log.appended import Appended
from kstore.log.producers import Origin, ProducerBatch

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore._native.batch import BatchHeader
    from kstore.config import TopicConfig
    from kstore.log.log import Log

SPECIAL = native.HAS_PRODUCER | native.HAS_TRANSACTIONAL | native.HAS_LOG_APPEND_TIME
"""Flags of `AppendInfo` that keep a client's batches off the straight path."""


def codec_for(config: TopicConfig, asked: int | None) -> int:
    """The codec in which a topic stores what a caller wants in `asked`."""
    if config.compression_type == "producer":
        return asked or 0
    return 0 if config.compression_type == "uncompressed" else compression.codec_id(config.compression_type)


def level_for(config: TopicConfig, codec: int) -> int | None:
    """The topic's compression level for a codec; None where the codec has none."""
    name = compression.codec_name(codec)
    level: int | None = getattr(config, f"compression_{name}_level", None)
    return level


def append_special(log: Log, buffer: Buffer, clock: Callable[[], int]) -> Appended:
    """Store a client's batches one by one; see `Partition.append_batches`."""
    whole = memoryview(buffer).cast("B")
    base, end, newest, duplicate = -1, -1, -1, True
    for header in native.headers(whole):
        piece = whole[header.position : header.position + header.size_bytes]
        one = _append_one(log, piece, header, clock)
        base = one.base_offset if base < 0 else base
        end, newest, duplicate = one.next_offset, max(newest, one.timestamp_ms), duplicate and one.duplicate
    return Appended(base, end, newest, duplicate)


def _append_one(log: Log, piece: memoryview, header: BatchHeader, clock: Callable[[], int]) -> Appended:
    row = producer_batch(piece, log.view.log_end_offset)
    if row is not None:
        known = log.derived.producers.check(row)
        if known is not None:
            return Appended(known.base_offset, known.last_offset + 1, known.timestamp_ms, True)
    stored: Buffer = _rewritten(log.config, piece, header)
    if log.config.message_timestamp_type == "LogAppendTime":
        own = bytearray(stored)
        now_ms = clock()
        native.set_log_append_time(own, now_ms)
        stored = own
        row = row._replace(timestamp_ms=now_ms) if row is not None else None
    return log.append_checked(stored, native.check(stored, client=False), row)


def _rewritten(config: TopicConfig, piece: memoryview, header: BatchHeader) -> Buffer:
    """The batch in the topic's codec; itself where it is in it already (LogValidator)."""
    codec = codec_for(config, header.codec)
    if codec == header.codec:
        return piece
    encoder = Encoder()
    encoder.encode(
        Batches(piece, 0).records(),
        base_offset=0,
        leader_epoch=header.leader_epoch,
        timestamp_ms=-1,
        codec=codec,
        level=level_for(config, codec),
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        transactional=header.is_transactional,
    )
    return bytes(encoder.buffer)


def append_marker(
    log: Log, producer_id: int, producer_epoch: int, *, commit: bool, coordinator_epoch: int, timestamp_ms: int
) -> Appended:
    """Write the control record that ends a producer's transaction (EndTransactionMarker).

    Raises `InvalidProducerEpoch` for an older epoch than the log has seen of that producer.
    """
    base = log.view.log_end_offset
    row = ProducerBatch(
        base,
        base,
        producer_id,
        producer_epoch,
        -1,
        -1,
        True,
        "commit" if commit else "abort",
        coordinator_epoch,
        timestamp_ms,
    )
    log.derived.producers.check(row, origin=Origin.COORDINATOR)
    marker = encode_marker(
        base,
        leader_epoch=log.leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        commit=commit,
        coordinator_epoch=coordinator_epoch,
        timestamp_ms=timestamp_ms,
    )
    return log.append_checked(marker, native.check(marker, client=False), row)


def append_as_follower(log: Log, buffer: Buffer) -> Appended:
    """Store a leader's batches byte for byte, with the offsets and epochs they carry.

    Raises `InvalidBatch` where a check fails, with nothing of that batch stored, and `InvariantError` where an
    offset lies below the log end.
    """
    whole = memoryview(buffer).cast("B")
    base, newest = log.view.log_end_offset, -1
    for header in native.headers(whole):
        piece = whole[header.position : header.position + header.size_bytes]
        info = native.check(piece, client=False)
        newest = max(newest, log.append_stamped(piece, info, producer_batch(piece)).timestamp_ms)
    return Appended(base, log.view.log_end_offset, newest)
