"""Requests and responses with their headers, and versions that do not fit."""

from __future__ import annotations

import pytest

from kstore.errors import MalformedMessage, UnencodableMessage, UnsupportedVersion
from kstore.wire import negotiation
from kstore.wire.apis import API_VERSIONS, APIS, METADATA, PRODUCE, api
from kstore.wire.codec import decode_header, decode_request, decode_response, encode_request, encode_response
from kstore.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kstore.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kstore.wire.messages.sessions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from kstore.wire.schema import Struct


def frame(pieces) -> bytes:
    """The frame's contents; the size before it is checked."""
    data = b"".join(bytes(piece) for piece in pieces)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return data[4:]


def produce(records: bytes, **more) -> ProduceRequest:
    partition = PartitionProduceData(index=3, records=records)
    topic = TopicProduceData(name="t", partition_data=[partition])
    return ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic], **more)


def test_the_bytes_of_a_request_by_hand():
    topics = [MetadataRequestTopic(name="ab")]
    rigid = frame(encode_request(MetadataRequest(topics=topics), 1, 7, "me"))
    assert rigid == bytes.fromhex("0003 0001 00000007 0002") + b"me" + bytes.fromhex("00000001 0002") + b"ab"
    flexible = frame(encode_request(MetadataRequest(topics=topics), 9, 7, None))
    # key, version, correlation id, null client id, no tags; one topic, its name and tags; three booleans, no tags
    assert flexible == bytes.fromhex("0003 0009 00000007 ffff 00 02 03") + b"ab" + bytes.fromhex("00 01 00 00 00")


def test_a_request_comes_back():
    request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
    header, body = decode_request(frame(encode_request(request, 12, 2**31 - 1, "client")))
    assert (header.api_key, header.api_version, header.correlation_id) == (METADATA, 12, 2**31 - 1)
    assert header.client_id == "client"
    assert body == request
    assert isinstance(body, MetadataRequest)


def test_records_are_neither_copied_on_the_way_out_nor_on_the_way_in():
    records = bytes(100_000)
    pieces = encode_request(produce(records), 9, 1, "me")
    assert any(piece is records for piece in pieces)
    data = frame(pieces)
    read = decode_request(data).body.topic_data[0].partition_data[0].records
    assert isinstance(read, memoryview)
    assert read.obj is data
    assert read.readonly
    assert read == records


def test_small_records_travel_with_the_rest():
    assert len(encode_request(produce(bytes(100)), 9, 1)) == 1


def test_a_frame_that_is_a_memoryview_of_a_bytearray_is_read_only_inside():
    data = bytearray(frame(encode_request(produce(b"r" * 70), 11, 1)))
    records = decode_request(memoryview(data)).body.topic_data[0].partition_data[0].records
    assert records.readonly
    assert records == b"r" * 70


def test_arrays_are_sequences():
    partitions = [
        MetadataResponsePartition(
            error_code=0, partition_index=i, leader_id=i, replica_nodes=[1, 2], isr_nodes=[i]
        )
        for i in range(5)
    ]
    topic = MetadataResponseTopic(error_code=0, name="t", partitions=partitions)
    data = frame(encode_response(MetadataResponse(brokers=[], topics=[topic]), 8, 5))
    correlation_id, body = decode_response(METADATA, 8, data)
    assert correlation_id == 5
    array = body.topics[0].partitions
    assert len(array) == 5
    assert array == partitions
    assert partitions == array
    assert array != partitions[:4]
    assert array[-1] == partitions[-1] == list(array)[4]
    assert array[1:3] == partitions[1:3]
    assert list(reversed(array)) == partitions[::-1]
    assert array.index(partitions[2]) == 2
    assert array.count(partitions[2]) == 1
    assert partitions[3] in array
    assert array[2].replica_nodes[1] == 2
    assert not body.brokers
    with pytest.raises(IndexError):
        array[5]
    with pytest.raises(IndexError):
        array[-6]


def test_structs_are_values():
    one = MetadataRequestTopic(name="a")
    assert one == MetadataRequestTopic(name="a")
    assert one != MetadataRequestTopic(name="b")
    assert one.replace(name="b") == MetadataRequestTopic(name="b")
    assert repr(one) == f"MetadataRequestTopic(topic_id={bytes(16)!r}, name='a')"
    with pytest.raises(AttributeError):
        one.name = "b"
    with pytest.raises(TypeError):
        MetadataRequestTopic(nam="a")
    with pytest.raises(TypeError):
        hash(one)


def test_a_table_with_a_type_that_is_none_is_refused():
    with pytest.raises(TypeError, match="no type of a field"):

        class Wrong(Struct):
            values: dict[str, int]


@pytest.mark.parametrize(
    ("request_", "version", "path", "reason"),
    [
        (produce(b"", transactional_id=5), 9, "transactional_id", "str wanted, not int"),
        (produce("text"), 9, "topic_data[0].partition_data[0].records", "bytes or a buffer wanted"),
        (produce(b"").replace(acks=2**15), 9, "acks", "does not fit into 2 bytes"),
        (produce(b"").replace(acks="1"), 9, "acks", "integer"),
        (produce(b"").replace(topic_data=None), 9, "topic_data", "no null here"),
        (produce(b"").replace(topic_data=[None]), 9, "topic_data[0]", "TopicProduceData wanted"),
        (produce(b"").replace(topic_data="x"), 9, "topic_data", "a sequence wanted"),
        (produce(b"", transactional_id="x" * 40_000), 3, "transactional_id", "longer than the type allows"),
        (produce(b"", transactional_id="\ud800"), 3, "transactional_id", "surrogates"),
        (MetadataRequest(topics=None), 0, "topics", "no null here"),
        (MetadataRequest(topics=[MetadataRequestTopic(name=None)]), 9, "topics[0].name", "no null here"),
        (MetadataRequest(topics=[MetadataRequestTopic(name="t", topic_id=b"1")]), 10, "topics[0].topic_id", "16 bytes"),
        (MetadataRequest(topics=[], allow_auto_topic_creation=False), 3, "allow_auto_topic_creation", "no such field"),
    ],
)
def test_values_that_do_not_fit_are_named(request_, version, path, reason):
    with pytest.raises(UnencodableMessage, match=reason) as caught:
        encode_request(request_, version, 1)
    assert (caught.value.field, caught.value.version) == (path, version)
    assert caught.value.message == type(request_).__name__


def test_ignorable_values_are_dropped_where_the_version_has_no_field():
    topics = [MetadataRequestTopic(name="t", topic_id=b"0123456789abcdef")]
    data = frame(encode_request(MetadataRequest(topics=topics), 9, 1))
    assert decode_request(data).body.topics[0].topic_id == bytes(16)


def test_versions_and_keys_without_a_table():
    with pytest.raises(UnsupportedVersion, match="0 to 13"):
        encode_request(MetadataRequest(topics=[]), 14, 1)
    with pytest.raises(UnsupportedVersion, match="no such API"):
        api(1000)
    with pytest.raises(UnsupportedVersion) as caught:
        decode_request(b"\0\3\0\x63\0\0\0\1\xff\xff\0")
    assert (caught.value.api_key, caught.value.version, caught.value.error_code) == (3, 99, 35)


def test_headers_are_read_whatever_the_api():
    header, position = decode_header(b"\x03\xe8\0\7\0\0\0\1\0\2meBODY")
    assert (header.api_key, header.api_version, header.client_id, position) == (1000, 7, "me", 12)
    for short in (b"", b"\0\3\0", b"\0\3\0\1\0\0\0\1\0\5me"):
        with pytest.raises(MalformedMessage):
            decode_header(short)


def test_bytes_behind_a_message_are_let_pass():
    data = frame(encode_request(MetadataRequest(topics=[]), 12, 1)) + b"padding"
    assert decode_request(data).body == MetadataRequest(topics=[])


def test_an_unknown_version_of_api_versions_is_answered_in_version_0():
    header, _ = decode_header(b"\0\x12\0\x63\0\0\0\x2a\0\2me\0whatever")
    assert frame(negotiation.refuse(header)) == bytes.fromhex("0000002a 0023 00000001 0012 0000 0004")
    other, _ = decode_header(b"\0\3\0\x63\0\0\0\x2a\0\2me\0")
    assert negotiation.refuse(other) is None


def test_a_client_reads_that_answer_whatever_it_asked():
    answer = bytes.fromhex("0000002a 0023 00000001 0012 0000 0004")
    for version in range(5):
        correlation_id, body = decode_response(API_VERSIONS, version, answer)
        assert (correlation_id, body.error_code) == (42, 35)
        assert negotiation.ranges_of(body) == {18: (0, 4)}


def test_the_header_before_api_versions_is_never_flexible():
    body = ApiVersionsResponse(error_code=0, api_keys=[ApiVersion(api_key=3, min_version=0, max_version=12)])
    assert frame(encode_response(body, 3, 1)).startswith(b"\0\0\0\1\0\0\2\0\3")
    request = ApiVersionsRequest(client_software_name="kstore", client_software_version="1")
    assert decode_request(frame(encode_request(request, 4, 1, "c"))).body == request


def test_what_is_advertised():
    body = negotiation.api_versions(APIS)
    ranges = negotiation.ranges_of(body)
    assert ranges[PRODUCE] == (0, 11)
    assert set(ranges) == set(APIS)
    for key, (first, last) in ranges.items():
        assert APIS[key].last >= last
        assert first >= APIS[key].first or key == PRODUCE
    assert not negotiation.offers(PRODUCE, 2)
    assert negotiation.offers(PRODUCE, 11)
    assert not negotiation.offers(PRODUCE, 12)


def test_a_version_is_chosen_from_both_ranges():
    assert negotiation.choose(METADATA, {METADATA: (0, 8)}) == 8
    assert negotiation.choose(METADATA, {METADATA: (2, 99)}) == 13
    assert negotiation.choose(METADATA, {METADATA: (14, 99)}) is None
    assert negotiation.choose(PRODUCE, {PRODUCE: (0, 2)}) is None
    assert negotiation.choose(PRODUCE, {}) is None
