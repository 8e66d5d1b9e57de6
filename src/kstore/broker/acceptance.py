"""What a topic takes of a client, looked at before the log sees it.

Owns the rules of a request's batch (ProduceRequest.validateRecords) and those of a topic's records (LogValidator): keys
where it is compacted, timestamps within `message.timestamp.*.max.ms`. Must not know sockets. Called by `produce`.

Invariants
1. Records are looked at one by one only where the topic is compacted, or a batch's own header says that it may break
   the rules: the common batch costs one unpacking of its header.
2. Bytes that fail their checksum are the log's to refuse, not this module's to decode.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from kstore._native.batch import check
from kstore._native.batches import Batches
from kstore.errors import ClosedError, InvalidBatch, KStoreError
from kstore.limits import BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, INT64_MAX
from kstore.wire.error_codes import UNSUPPORTED_VERSION, code_of
from kstore.wire.messages.produce import BatchIndexAndErrorMessage, PartitionProduceResponse

if TYPE_CHECKING:
    from kstore.config import TopicConfig

UNKNOWN_TOPIC: Final = 3
UNSUPPORTED_COMPRESSION: Final = 76
INVALID_RECORD: Final = 87
INVALID_TIMESTAMP: Final = 32
ZSTD: Final = 4
ZSTD_SINCE_VERSION: Final = 7
NO_TIMESTAMP: Final = -1

_HEAD: Final = struct.Struct(">8xi10xB12xq")
"""Of a batch's header: its length, the low byte of its attributes, its greatest timestamp (docs/FORMAT.md)."""
_CODEC: Final = 0x07
_TRANSACTIONAL: Final = 0x10


class Refusal(KStoreError):
    """A batch that is refused before the log sees it; `records` tells which of its records are why."""

    def __init__(self, error_code: int, message: str, records: dict[int, str] | None = None) -> None:
        self.error_code = error_code
        self.records = records or {}
        """Sentence by place in the batch (KIP-467)."""
        super().__init__(message)


def require_acceptable(records: memoryview, version: int, config: TopicConfig, now_ms: int) -> None:
    """Raise `Refusal` or `InvalidBatch` where a client may not send these bytes in Produce `version`."""
    if len(records) < BATCH_HEADER_BYTES:
        return  # the log says what is wrong with it
    length, attributes, newest_ms = _HEAD.unpack_from(records)
    if length + BATCH_OVERHEAD_BYTES != len(records):
        raise InvalidBatch("a request carries exactly one batch for a partition")
    if attributes & _TRANSACTIONAL:
        raise Refusal(UNSUPPORTED_VERSION, "transactions are not kept by this broker")
    if attributes & _CODEC == ZSTD and version < ZSTD_SINCE_VERSION:
        raise Refusal(UNSUPPORTED_COMPRESSION, f"zstd needs Produce version {ZSTD_SINCE_VERSION}")
    if config.compacts:
        _require_keys(records)
    if config.message_timestamp_type == "CreateTime" and (
        newest_ms - now_ms > config.message_timestamp_after_max_ms
        or config.message_timestamp_before_max_ms != INT64_MAX
    ):
        _require_timely(records, config, now_ms)


def _require_keys(records: memoryview) -> None:
    check(records)
    starts = Batches(records).columns().key_starts
    missing = {int(i): "A compacted topic takes no record without a key." for i in (starts < 0).nonzero()[0]}
    if missing:
        raise Refusal(INVALID_RECORD, "the topic is compacted, and records have no key", missing)


def _require_timely(records: memoryview, config: TopicConfig, now_ms: int) -> None:
    check(records)
    earliest = now_ms - config.message_timestamp_before_max_ms
    latest = now_ms + config.message_timestamp_after_max_ms
    found = Batches(records).columns().timestamps.tolist()
    untimely = {
        i: f"Timestamp {time_ms} is outside {earliest} to {latest}."
        for i, time_ms in enumerate(found)
        if time_ms != NO_TIMESTAMP and not earliest <= time_ms <= latest
    }
    if untimely:
        raise Refusal(
            INVALID_TIMESTAMP,
            "timestamps outside message.timestamp.before.max.ms and message.timestamp.after.max.ms",
            untimely,
        )


def refused(index: int, error: KStoreError) -> PartitionProduceResponse:
    """What a producer is told of a partition whose batch was not stored."""
    code = UNKNOWN_TOPIC if isinstance(error, ClosedError) else code_of(error)
    records = error.records.items() if isinstance(error, Refusal) else ()
    return PartitionProduceResponse(
        index=index,
        error_code=code,
        base_offset=-1,
        error_message=str(error),
        record_errors=[BatchIndexAndErrorMessage(batch_index=i, batch_index_error_message=why) for i, why in records],
    )
