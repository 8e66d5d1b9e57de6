"""The wire protocol against a real broker: it takes every request in every version, and its answers are read to the
last byte.

Requests are made from the tables with plain values; where a value would be refused before anything interesting
happens, the test fills in one that is not. What a broker answers is an error as often as not: that it answers, and
that the bytes of the answer are exactly a response of that version, is what is asked here.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

import kstore
from kstore._native.wire_reader import read
from kstore.wire import negotiation
from kstore.wire.apis import API_VERSIONS, APIS, api
from kstore.wire.codec import ResponseHeader, decode_response, encode_request
from kstore.wire.frames import FrameReader
from kstore.wire.layouts import layout, request_type, response_layout
from kstore.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kstore.wire.messages.metadata import MetadataRequest
from kstore.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kstore.wire.messages.sessions import ApiVersionsRequest
from kstore.wire.messages.topics import CreatableTopic, CreateTopicsRequest
from kstore.wire.schema import Field, Request, Struct
from support import kafka
from support.wire_messages import struct_named

pytestmark = pytest.mark.interop

TIMEOUT_S = 20
PLAIN = {
    **dict.fromkeys(("name", "topic", "topic_name", "names"), "events"),
    **dict.fromkeys(("principal", "principal_filter"), "User:plain"),
    **dict.fromkeys(("resource_type", "resource_type_filter", "operation"), 2),
    **dict.fromkeys(("permission_type", "resource_pattern_type", "pattern_type_filter"), 3),
}
"""Values that are right for fields of these names; 0 is no type of a resource."""
CLIENT = {"client_software_name": "kstore", "client_software_version": "1"}


class Connection:
    """One connection to a broker, a request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.frames = FrameReader(limit_bytes=1 << 30)
        self.correlation_id = 0

    def ask(self, body: Request, version: int) -> Any:
        """The response's body; `EOFError` when the broker closes instead."""
        self.correlation_id += 1
        for piece in encode_request(body, version, self.correlation_id, "kstore"):
            self.socket.sendall(piece)
        while (frame := self.frames.next_frame()) is None:
            count = self.socket.recv_into(self.frames.get_buffer())
            if not count:
                raise EOFError
            self.frames.buffer_updated(count)
        row = api(body.API_KEY, version)
        header = row.response_header(version)
        _, position = read(layout(ResponseHeader, header, header == 1), frame)
        _, end = read(response_layout(row.key, version), frame, position)
        assert end == len(frame), f"{row.name} v{version}: {len(frame) - end} bytes are left"
        correlation_id, answer = decode_response(row.key, version, frame)
        assert correlation_id == self.correlation_id
        return answer

    def close(self) -> None:
        self.socket.close()


def plain(struct: type[Struct], version: int, topic_id: bytes) -> Any:
    """The plainest instance that still has something in every array."""
    lines = [line for line in struct.TABLE if line.is_in(version)]
    return struct(**{line.name: _plain(struct, line, version, topic_id) for line in lines})


def _plain(struct: type[Struct], line: Field, version: int, topic_id: bytes) -> Any:
    if line.tag is not None:
        return line.default
    match line.type:
        case "Bool":
            value: Any = False
        case "String":
            value = PLAIN.get(line.name, "plain")
        case "Uuid":
            value = topic_id
        case "Bytes":
            value = b"\0\0\0\0\0\0"
        case "Records":
            value = kstore.encode_batches([b"one"])
        case "Float64":
            value = 0.0
        case kind if kind.startswith(("Int", "UInt")):
            value = line.default if not line.required and line.default else PLAIN.get(line.name, 0)
        case _:
            value = plain(struct_named(struct, line.type), version, topic_id)
    return [value] if line.is_array else value


def interesting(body: Any) -> Any:
    """With values that lead to an answer at once, and change nothing that the other requests need."""
    match body.API_KEY:
        case 0:
            return body.replace(acks=1, timeout_ms=1000, transactional_id=None)
        case 1:
            return body.replace(replica_id=-1, max_wait_ms=0, max_bytes=1 << 20, forgotten_topics_data=())
        case 2:
            return body.replace(replica_id=-1)
        case 19 | 20:
            return body.replace(timeout_ms=1000, topics=(), **({"topic_names": ()} if body.API_KEY == 20 else {}))
        case 18:
            return body.replace(**CLIENT)
        case 75:
            return body.replace(cursor=None)
        case 23:
            return body.replace(replica_id=-1)
    return body


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    if reason := kafka.why_not():
        pytest.skip(reason)
    with kafka.Broker(tmp_path_factory.mktemp("wire") / "data") as running:
        yield running


@pytest.fixture
def connection(broker):
    made = Connection(broker.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def topic_id(broker) -> bytes:
    made = Connection(broker.port)
    wanted = CreatableTopic(name="events", num_partitions=1, replication_factor=1, assignments=(), configs=())
    made.ask(CreateTopicsRequest(topics=[wanted], timeout_ms=10_000), 7)
    found = made.ask(MetadataRequest(topics=None), 12).topics[0].topic_id
    made.close()
    assert found != bytes(16)
    return found


def test_every_version_that_both_sides_have(broker, topic_id, connection):
    ranges = negotiation.ranges_of(connection.ask(ApiVersionsRequest(**CLIENT), 4))
    asked = 0
    for key in sorted(set(APIS) & set(ranges)):
        row, (first, last) = APIS[key], ranges[key]
        for version in range(max(row.first, first), min(row.last, last) + 1):
            body = interesting(plain(request_type(key), version, topic_id))
            try:
                connection.ask(body, version)
            except (EOFError, ConnectionError):
                pytest.fail(f"{row.name} v{version}: the broker closed the connection\n{broker.output[-3000:]}")
            asked += 1
    assert set(APIS) <= set(ranges)
    assert asked > 230


def test_records_travel_in_every_version(topic_id, connection):
    ranges = negotiation.ranges_of(connection.ask(ApiVersionsRequest(**CLIENT), 4))
    batches = kstore.encode_batches([b"value-%d" % i for i in range(100)])
    offset = 0
    for version in range(3, min(13, ranges[0][1]) + 1):
        data = [PartitionProduceData(index=0, records=batches)]
        topic = TopicProduceData(name="events", partition_data=data)
        if version >= 13:
            topic = topic.replace(name="", topic_id=topic_id)
        answer = connection.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[topic]), version)
        written = answer.responses[0].partition_responses[0]
        assert written.error_code == 0
        offset = written.base_offset
    for version in range(4, min(18, ranges[1][1]) + 1):
        place = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
        wanted = FetchTopic(topic="events", topic_id=topic_id, partitions=[place])
        answer = connection.ask(FetchRequest(max_wait_ms=100, min_bytes=1, topics=[wanted]), version)
        got = answer.responses[0].partitions[0]
        assert (got.error_code, got.high_watermark) == (0, offset + 100)
        values = [record.value for record in kstore.decode_batches(got.records)]
        assert values == [b"value-%d" % i for i in range(100)]


def test_a_version_to_come_is_refused_in_version_0(connection):
    """What kstore's broker answers is what Kafka answers (KIP-511)."""
    head = (18).to_bytes(2, "big") + (99).to_bytes(2, "big") + (7).to_bytes(4, "big") + b"\xff\xff\0"
    connection.socket.sendall(len(head).to_bytes(4, "big") + head)
    while (frame := connection.frames.next_frame()) is None:
        connection.frames.buffer_updated(connection.socket.recv_into(connection.frames.get_buffer()))
    correlation_id, answer = decode_response(API_VERSIONS, 4, frame)
    assert (correlation_id, answer.error_code) == (7, 35)
    assert API_VERSIONS in negotiation.ranges_of(answer)
