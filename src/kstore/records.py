"""The record format without a log: encode records into batches, decode batches into records.

Owns the public functions only; the work is native. Called by users and by tests of everything above.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kstore import compression as codecs
from kstore._native.batches import Batches
from kstore._native.records import Encoder
from kstore.limits import INT32_MAX

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["decode_batches", "encode_batches"]


def encode_batches(
    records: Iterable[Any],
    *,
    base_offset: int = 0,
    timestamp_ms: int | None = None,
    compression: str | None = None,
    level: int | None = None,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    batch_bytes_max: int = INT32_MAX,
) -> bytes:
    """Encode records as record batches of magic 2, as a producer sends them.

    `records` are value `bytes`, `(key, value)`, `(key, value, headers)` or `kstore.Record`; headers are pairs of a
    name and `bytes` or None. `timestamp_ms` is the time of records that carry none: without it they get -1, Kafka's
    "no timestamp", since nothing here reads a clock. One batch, or several where one would pass `batch_bytes_max`
    (measured before compression). Without records the result is empty.

    Raises `BatchTooLarge` for a single record above the limit, `UsageError` for a wrong shape, `MissingCodec`.
    """
    encoder = Encoder()
    encoder.encode(
        records,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        timestamp_ms=-1 if timestamp_ms is None else timestamp_ms,
        codec=0 if compression is None else codecs.codec_id(compression),
        level=level,
        batch_bytes_max=batch_bytes_max,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
    )
    return bytes(encoder.buffer)


def decode_batches(buffer: Buffer) -> Batches:
    """Record batches of any buffer, decoded as they are looked at; the buffer is not copied.

    A batch that is damaged raises `CorruptionError` when it is reached, not before.
    """
    return Batches(buffer)
