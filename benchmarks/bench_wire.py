"""The wire protocol: messages into bytes and out of them, against kio and kafka-python in the same run.

Reading means what a handler does: every partition is looked at, records are touched as a view. Both peers copy
records; kstore hands over the objects that came in. kstore's times include the header and the size of the frame, for
which the peers have other functions, so that small messages look better for them than they are.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

from benchmarks.support.bench import Bench
from kstore.wire.apis import api
from kstore.wire.codec import decode_request, decode_response, encode_request, encode_response
from kstore.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from kstore.wire.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kstore.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kstore.wire.schema import Request, Response, Struct

LAPS = 20
ID = b"0123456789abcdef"


def metadata(topics: int, partitions: int) -> MetadataResponse:
    nodes = [0, 1, 2]
    rows = [
        MetadataResponsePartition(
            error_code=0, partition_index=i, leader_id=i % 3, leader_epoch=4, replica_nodes=nodes, isr_nodes=nodes
        )
        for i in range(partitions)
    ]
    named = [
        MetadataResponseTopic(error_code=0, name=f"topic-{i}", topic_id=ID, partitions=rows) for i in range(topics)
    ]
    brokers = [MetadataResponseBroker(node_id=i, host=f"broker-{i}.example", port=9092) for i in range(3)]
    return MetadataResponse(brokers=brokers, cluster_id="cluster", controller_id=1, topics=named)


def produce(size: int) -> ProduceRequest:
    partition = PartitionProduceData(index=0, records=bytes(size))
    return ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[TopicProduceData(name="t", partition_data=[partition])])


def fetch_response(size: int) -> FetchResponse:
    partition = PartitionData(
        partition_index=0, error_code=0, high_watermark=1, aborted_transactions=None, records=bytes(size)
    )
    return FetchResponse(responses=[FetchableTopicResponse(topic_id=ID, partitions=[partition])])


def fetch_request() -> FetchRequest:
    rows = [FetchPartition(partition=i, fetch_offset=10**6, partition_max_bytes=1 << 20) for i in range(6)]
    return FetchRequest(max_wait_ms=500, min_bytes=1, topics=[FetchTopic(topic_id=ID, partitions=rows)])


def look(value: Any) -> None:
    """Touch every partition, as a handler does."""
    if isinstance(value, MetadataResponse):
        for topic in value.topics:
            for one in topic.partitions:
                _ = one.leader_id
    elif isinstance(value, ProduceRequest):
        for produced in value.topic_data:
            for data in produced.partition_data:
                _ = data.records
    elif isinstance(value, FetchRequest):
        for wanted in value.topics:
            for place in wanted.partitions:
                _ = place.fetch_offset
    elif isinstance(value, FetchResponse):
        for fetched in value.responses:
            for rows in fetched.partitions:
                _ = rows.records


def kio(bench: Bench, message: Request | Response, version: int, data: bytes) -> tuple[Callable[[], object], ...] | str:
    """kio's reader and writer of the same bytes, or why there are none."""
    serial = bench.peer("kio.serial")
    if isinstance(serial, str):
        return serial
    row = api(message.API_KEY, version)
    family = importlib.import_module("kio.schema.index").api_key_map[row.key]
    direction = "request" if isinstance(message, Request) else "response"
    kind = getattr(importlib.import_module(f"kio.schema.{family}.v{version}.{direction}"), type(message).__name__)
    reader, writer = serial.entity_reader(kind), serial.entity_writer(kind)
    entity, _ = reader(data, 0)
    return (lambda: reader(data, 0)), (lambda: writer(io.BytesIO(), entity))


def kafka_python(
    bench: Bench, message: Request | Response, version: int, data: bytes, module: str
) -> tuple[Callable[[], object], ...] | str:
    """kafka-python's, likewise."""
    peer = bench.peer(f"kafka.protocol.{module}")
    if isinstance(peer, str):
        return peer
    kind = getattr(peer, type(message).__name__)
    entity = kind.decode(data, version=version)
    entity._header = None
    return (lambda: kind.decode(data, version=version)), (lambda: entity.encode(version=version))


def body_of(message: Struct, version: int, frame: bytes) -> bytes:
    """The frame without size and header, which the peers have other functions for."""
    row = api(message.API_KEY, version)
    flexible = row.is_flexible(version)
    header = 10 if isinstance(message, Request) else 4  # no client id
    return frame[4 + header + flexible :]


def race(
    bench: Bench, what: str, message: Request | Response, version: int, module: str, floors: tuple[float, float]
) -> None:
    """Read and write one message; `floors` are for kio's reader and writer."""
    key = message.API_KEY
    if isinstance(message, Request):

        def write() -> object:
            return encode_request(message, version, 1)

        def read() -> None:
            look(decode_request(contents).body)
    else:

        def write() -> object:
            return encode_response(message, version, 1)

        def read() -> None:
            look(decode_response(key, version, contents)[1])

    frame = b"".join(bytes(piece) for piece in write())  # type: ignore[attr-defined]
    contents = frame[4:]
    peers = {
        "kio": kio(bench, message, version, body_of(message, version, frame)),
        "kafka-python": kafka_python(bench, message, version, body_of(message, version, frame), module),
    }
    for index, (verb, ours) in enumerate((("read", read), ("write", write))):
        running = bench.race()
        running.add("kstore", repeated(ours), units=LAPS)
        for name, peer in peers.items():
            if not isinstance(peer, str):
                running.add(name, repeated(peer[index]), units=LAPS)
        result = running.run()
        for name, peer in peers.items():
            floor = floors[index] if name == "kio" else None
            if isinstance(peer, str):
                bench.skip("W1", f"{verb} {what}", name, floor, peer)
            else:
                bench.speed("W1", f"{verb} {what}", result, name, floor, kind="peer", unit="message")


def repeated(work: Callable[[], object]) -> Callable[[], None]:
    def laps() -> None:
        for _ in range(LAPS):
            work()

    return laps


def bench_wire_metadata(bench: Bench) -> None:
    """W1: Metadata of 50 topics with 12 partitions, written at 15 times kio's speed: brokers write it."""
    race(bench, "Metadata 50x12", metadata(50, 12), 12, "metadata", (0.6, 15))
    race(bench, "Metadata 1x12", metadata(1, 12), 12, "metadata", (0.4, 10))


def bench_wire_produce(bench: Bench) -> None:
    """W1: Produce with a batch of 1 KiB and of 1 MiB: what a broker reads and a client writes."""
    race(bench, "Produce 1 KiB", produce(1 << 10), 11, "producer", (0.2, 2))
    race(bench, "Produce 1 MiB", produce(1 << 20), 11, "producer", (5, 10))


def bench_wire_fetch(bench: Bench) -> None:
    """W1: Fetch of six partitions asked for, and of 1 KiB and 1 MiB answered."""
    race(bench, "Fetch of 6 partitions", fetch_request(), 16, "consumer", (0.3, 5))
    race(bench, "Fetch 1 KiB", fetch_response(1 << 10), 16, "consumer", (0.2, 2))
    race(bench, "Fetch 1 MiB", fetch_response(1 << 20), 16, "consumer", (5, 10))
