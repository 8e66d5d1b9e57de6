"""Requests as bytes, encoded once, and where in an answer stands what the loops in C look at.

Owns the versions that the raw clients speak: Produce 7 and Fetch 11, which every broker since Kafka 2.3 answers. Places
in messages are found by encoding a message with a mark in it, so that no layout is written down here.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import kstore
from benchmarks.support import samples
from kstore.wire.codec import encode_request, encode_response
from kstore.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from kstore.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

PRODUCE_VERSION = 7
FETCH_VERSION = 11
SIZE_BYTES = 4
CLIENT_ID = "bench"
_MARK_16 = 0x7A7B
_MARK_64 = 0x7A7B7C7D7A7B7C7D


class Batch(NamedTuple):
    """Encoded records."""

    data: bytes
    records: int


class Produce(NamedTuple):
    """A request, and what its answer looks like."""

    frame: bytes
    answer: bytes
    """As a broker sends it, size and all, without an error."""
    error_at: int
    """Place of the error code in an answer, counted behind the size."""


class Fetch(NamedTuple):
    """A request, and what its answer looks like."""

    frame: bytes
    offset_at: int
    records_at: int
    """Place of the records' size in an answer, counted behind the answer's own."""


def batch(batch_bytes: int, record_bytes: int) -> Batch:
    """One batch of random records that is just below so many bytes; stamped now, or Kafka's retention would take it."""
    count = max(1, batch_bytes // (record_bytes + 12))
    while True:
        values = samples.values(count, record_bytes)
        data = kstore.encode_batches(values, timestamp_ms=int(time.time() * 1000), batch_bytes_max=1 << 30)
        if len(data) <= batch_bytes or count == 1:
            return Batch(data, count)
        count -= 1 + (len(data) - batch_bytes) // (record_bytes + 12)


def produce(topic: str, partition: int, data: bytes, acks: int) -> Produce:
    """A request with one batch for one partition."""
    topics = [TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=partition, records=data)])]
    request = ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=topics)
    frame = b"".join(encode_request(request, PRODUCE_VERSION, 1, CLIENT_ID))

    def answer(code: int) -> bytes:
        one = PartitionProduceResponse(index=partition, error_code=code, base_offset=0, log_start_offset=0)
        response = ProduceResponse(responses=[TopicProduceResponse(name=topic, partition_responses=[one])])
        return b"".join(encode_response(response, PRODUCE_VERSION, 1))

    return Produce(frame, answer(0), answer(_MARK_16).index(struct.pack(">h", _MARK_16)) - SIZE_BYTES)


def fetch(topic: str, partition: int, max_bytes: int, *, max_wait_ms: int = 500, min_bytes: int = 1) -> Fetch:
    """A request for batches of one partition, outside any session."""
    want = FetchPartition(partition=partition, fetch_offset=_MARK_64, partition_max_bytes=max_bytes)
    topics = [FetchTopic(topic=topic, partitions=[want])]
    request = FetchRequest(max_wait_ms=max_wait_ms, min_bytes=min_bytes, max_bytes=max_bytes, topics=topics)
    frame = b"".join(encode_request(request, FETCH_VERSION, 1, CLIENT_ID))
    return Fetch(frame, frame.index(struct.pack(">q", _MARK_64)), len(fetched_head(topic, partition, 0)) - 8)


def fetched_head(topic: str, partition: int, records_bytes: int) -> bytes:
    """An answer to `fetch`, up to its records."""
    one = PartitionData(
        partition_index=partition,
        error_code=0,
        high_watermark=0,
        log_start_offset=0,
        aborted_transactions=None,
        records=bytes(records_bytes),
    )
    response = FetchResponse(responses=[FetchableTopicResponse(topic=topic, partitions=[one])])
    whole = b"".join(encode_response(response, FETCH_VERSION, 1))
    return whole[: len(whole) - records_bytes]


def log_of(one: Batch, size_bytes: int) -> Iterator[bytes]:
    """Copies of the batch as a broker keeps them behind each other, of at most so many bytes together."""
    for index in range(size_bytes // len(one.data)):
        yield struct.pack(">q", index * one.records) + one.data[8:]
