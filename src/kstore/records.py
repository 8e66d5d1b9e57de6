"""The record format without a log: records to batches and back.

Owns the two public functions. Reads no clock and no file: a time that nobody gave is "no timestamp", -1. Called by
users, by `graduate` and by tests; the log uses the native encoder itself.
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

    from kstore._native.columns import Columns

BATCH_BYTES_MAX = 1_048_588
"""Kafka's default of max.message.bytes: 1 MiB, and room for the batch's own fields."""


def encode_batches(
    records: Iterable[Any] | Columns,
    *,
    base_offset: int = 0,
    timestamp_ms: int | None = None,
    compression: str | None = None,
    level: int | None = None,
    batch_bytes_max: int | None = None,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
) -> bytes:
    """Encode records into record batches of magic 2, as a producer sends them.

    Parameters
    ----------
    records
        An iterable of value `bytes`, `(key, value)`, `(key, value, headers)` or `kstore.Record`; or `kstore.Columns`,
        of which no object is made for any record.
    base_offset
        Offset of the first record; the others count on from it. A log sets its own.
    timestamp_ms
        Time of the records that carry none. None: they get -1, Kafka's "no timestamp".
    compression, level
        `none`, `gzip`, `snappy`, `lz4` or `zstd`, and the level of `compression.*.level` in Kafka's configuration.
    batch_bytes_max
        A batch is closed before its records, not yet compressed, would lift it above this. None: above Kafka's
        default of max.message.bytes, and a single record that needs more gets a batch of its own.
    leader_epoch, producer_id, producer_epoch, base_sequence, transactional
        Header fields of every batch; sequences count on from batch to batch.

    Raises `BatchTooLarge` for a record that needs a batch above `batch_bytes_max`, `UsageError` for other types of
    records, `MissingCodec` for a codec whose package is not installed. No record gives no bytes.
    """
    encoder = Encoder()
    encoder.encode(
        records,
        base_offset=base_offset,
        timestamp_ms=timestamp_ms,
        codec=codecs.codec_id(compression),
        level=level,
        batch_bytes_max=BATCH_BYTES_MAX if batch_bytes_max is None else batch_bytes_max,
        record_bytes_max=INT32_MAX if batch_bytes_max is None else None,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
    )
    return bytes(encoder.buffer)


def decode_batches(buffer: Buffer) -> Batches:
    """The record batches in `buffer`, decoded lazily: iterate, or ask for `columns()`.

    The buffer is not copied and must not change while the result is in use. Decoding raises `CorruptionError`, with
    the position in `buffer`, at a batch that is cut short, fails its checksum or holds malformed records.
    """
    return Batches(buffer)
