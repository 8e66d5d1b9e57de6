"""Producing and fetching over a socket: what is stored, what is answered, who waits."""

from __future__ import annotations

import time

import pytest

import kstore
from kstore.testing.cluster import Cluster
from kstore.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.transactions import InitProducerIdRequest
from support.wire_client import WireClient, fetch_request, produce_request


@pytest.fixture
def orders(client: WireClient) -> bytes:
    """The topic `orders` with one partition; its id."""
    answer = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="orders")]), 12)
    return bytes(answer.topics[0].topic_id)


def values_of(records: object) -> list[bytes | None]:
    return [record.value for record in kstore.decode_batches(records)]  # type: ignore[arg-type]


@pytest.mark.parametrize("version", range(3, 12))
@pytest.mark.usefixtures("orders")
def test_produce_in_every_version(client: WireClient, version: int) -> None:
    first = client.produce("orders", [b"a", b"b"], version=version)
    second = client.produce("orders", [b"c"], version=version)
    assert (first.error_code, first.base_offset) == (0, 0)
    assert (second.error_code, second.base_offset) == (0, 2)
    assert values_of(client.fetch("orders", 0).records) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("version", range(4, 19))
def test_fetch_in_every_version(client: WireClient, orders: bytes, version: int) -> None:
    client.produce("orders", [b"a"])
    request = fetch_request("orders", 0)
    if version >= 13:
        request = request.replace(topics=[FetchTopic(topic_id=orders, partitions=list(request.topics[0].partitions))])
    found = client.ask(request, version).responses[0].partitions[0]
    assert (found.error_code, found.high_watermark, values_of(found.records)) == (0, 1, [b"a"])


@pytest.mark.usefixtures("orders")
def test_acks_zero_has_no_answer(client: WireClient) -> None:
    client.post(produce_request("orders", kstore.encode_batches([b"silent"]), acks=0), 9)
    assert client.produce("orders", [b"loud"]).base_offset == 1


@pytest.mark.usefixtures("orders")
def test_acks_zero_that_fails_closes(client: WireClient) -> None:
    client.post(produce_request("absent", kstore.encode_batches([b"x"]), acks=0), 9)
    assert client.is_closed_by_broker()


@pytest.mark.usefixtures("orders")
def test_what_is_refused(client: WireClient) -> None:
    good = kstore.encode_batches([b"x"])
    flipped = bytearray(good)
    flipped[-1] ^= 1
    transactional = bytearray(good)
    transactional[22] |= 0x10
    cases = [
        (produce_request("absent", good), 3),
        (produce_request("orders", good, partition=7), 3),
        (produce_request("orders", good, acks=5), 21),
        (produce_request("orders", flipped), 2),
        (produce_request("orders", good + good), 87),
        (produce_request("orders", b""), 87),
        (produce_request("orders", bytes(transactional)), 35),
        (produce_request("orders", good, transactional_id="t"), 35),
        (produce_request("__consumer_offsets", good), 17),
    ]
    for request, code in cases:
        one = client.ask(request, 9).responses[0].partition_responses[0]
        assert one.error_code == code, one
    assert client.produce("orders", [b"fine"]).base_offset == 0, "nothing of what was refused is stored"


@pytest.mark.usefixtures("orders")
def test_fetch_outside_and_at_the_end(client: WireClient) -> None:
    client.produce("orders", [b"a"])
    assert client.fetch("orders", 5).error_code == 1
    assert client.fetch("orders", -1).error_code == 1
    at_end = client.fetch("orders", 1)
    assert (at_end.error_code, bytes(at_end.records), at_end.high_watermark) == (0, b"", 1)
    assert client.fetch("absent", 0).error_code == 3


@pytest.mark.usefixtures("orders")
def test_a_parked_fetch_wakes_on_append(cluster: Cluster, client: WireClient) -> None:
    with WireClient(cluster.bootstrap) as reader:
        reader.post(fetch_request("orders", 0, max_wait_ms=60_000), 12)
        client.produce("orders", [b"news"])
        found = reader.receive(1, 12).responses[0].partitions[0]
    assert values_of(found.records) == [b"news"]


@pytest.mark.usefixtures("orders")
def test_a_parked_fetch_waits_for_min_bytes(cluster: Cluster, client: WireClient) -> None:
    with WireClient(cluster.bootstrap) as reader:
        reader.post(fetch_request("orders", 0, max_wait_ms=60_000, min_bytes=400), 12)
        for number in range(4):
            client.produce("orders", [b"%0100d" % number])
        found = reader.receive(1, 12).responses[0].partitions[0]
    assert len(values_of(found.records)) == 3, "61 + 107 bytes each: the third passes 400"


@pytest.mark.usefixtures("orders")
def test_a_parked_fetch_ends_at_its_deadline(client: WireClient) -> None:
    found = client.fetch("orders", 0, max_wait_ms=20)
    assert (found.error_code, bytes(found.records)) == (0, b"")


@pytest.mark.usefixtures("orders")
def test_answers_keep_the_order_of_requests(client: WireClient) -> None:
    """A Metadata behind a parked Fetch is answered after it."""
    fetch_id = client.post(fetch_request("orders", 0, max_wait_ms=50), 12)
    metadata_id = client.post(MetadataRequest(topics=None), 9)
    assert client.receive_with_id(1, 12)[0] == fetch_id
    assert client.receive_with_id(3, 9)[0] == metadata_id


@pytest.mark.usefixtures("orders")
def test_a_client_that_dies_unparks(cluster: Cluster, client: WireClient) -> None:
    with WireClient(cluster.bootstrap) as reader:
        reader.post(fetch_request("orders", 0, max_wait_ms=600_000), 12)
        client.fetch("orders", 0)
    while len(cluster.broker.waiting) or len(cluster.broker.connections.open) > 1:
        client.fetch("orders", 0)
    assert len(cluster.broker.waiting) == 0


@pytest.mark.usefixtures("orders")
def test_the_first_batch_goes_out_whole(client: WireClient) -> None:
    client.produce("orders", [bytes(5000)])
    client.produce("orders", [bytes(5000)])
    found = client.fetch("orders", 0, max_bytes=10, partition_max_bytes=10)
    assert len(values_of(found.records)) == 1


def test_other_partitions_keep_to_max_bytes(client: WireClient) -> None:
    for topic in ("first", "second"):
        client.ask(MetadataRequest(topics=[MetadataRequestTopic(name=topic)]), 9)
        client.produce(topic, [bytes(5000)])
    partition = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topics = [FetchTopic(topic=name, partitions=[partition]) for name in ("first", "second")]
    answer = client.ask(FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=6000, topics=topics), 12)
    sizes = [len(topic.partitions[0].records) for topic in answer.responses]
    assert sizes[0] > 5000
    assert sizes[1] == 0


def test_a_fetch_session_sends_news_only(client: WireClient) -> None:
    names = ("first", "second")
    for topic in names:
        client.ask(MetadataRequest(topics=[MetadataRequestTopic(name=topic)]), 9)
    wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topics = [FetchTopic(topic=name, partitions=[wanted]) for name in names]
    begun = client.ask(FetchRequest(max_wait_ms=0, min_bytes=1, session_epoch=0, topics=topics), 12)
    assert begun.session_id > 0
    assert [topic.topic for topic in begun.responses] == list(names)

    client.produce("second", [b"news"])
    base = FetchRequest(max_wait_ms=0, min_bytes=1, session_id=begun.session_id, topics=[])
    second = client.ask(base.replace(session_epoch=1), 12)
    assert [topic.topic for topic in second.responses] == ["second"]
    moved = FetchTopic(topic="second", partitions=[wanted.replace(fetch_offset=1)])
    third = client.ask(base.replace(session_epoch=2, topics=[moved]), 12)
    assert list(third.responses) == []
    assert client.ask(base.replace(session_epoch=2), 12).error_code == 71
    forgotten = [ForgottenTopic(topic="second", partitions=[0])]
    fourth = client.ask(base.replace(session_epoch=3, forgotten_topics_data=forgotten), 12)
    assert list(fourth.responses) == []
    client.produce("second", [b"more"])
    assert list(client.ask(base.replace(session_epoch=4), 12).responses) == []
    ended = client.ask(base.replace(session_epoch=-1, topics=topics), 12)
    assert (ended.session_id, len(ended.responses)) == (0, 2)
    assert client.ask(base.replace(session_epoch=5), 12).error_code == 70


@pytest.mark.usefixtures("orders")
def test_an_idempotent_batch_again_across_a_restart(cluster: Cluster, client: WireClient) -> None:
    given = client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4)
    assert given.error_code == 0
    options = {"producer_id": given.producer_id, "producer_epoch": 0, "timestamp_ms": time.time_ns() // 1_000_000}
    batches = [kstore.encode_batches([b"%d" % n], base_sequence=n, **options) for n in range(3)]
    for number in (0, 1, 1, 0):
        answer = client.ask(produce_request("orders", batches[number]), 9)
        assert answer.responses[0].partition_responses[0].base_offset == number
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        one = again.ask(produce_request("orders", batches[1]), 9).responses[0].partition_responses[0]
        assert (one.error_code, one.base_offset) == (0, 1)
        one = again.ask(produce_request("orders", batches[2]), 9).responses[0].partition_responses[0]
        assert (one.error_code, one.base_offset) == (0, 2)
        gap = kstore.encode_batches([b"9"], base_sequence=9, **options)
        one = again.ask(produce_request("orders", gap), 9).responses[0].partition_responses[0]
        assert one.error_code == 45
        later = again.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4)
        assert later.producer_id > given.producer_id


def test_transactions_are_refused_clearly(client: WireClient) -> None:
    answer = client.ask(InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000), 4)
    assert answer.error_code == 35
