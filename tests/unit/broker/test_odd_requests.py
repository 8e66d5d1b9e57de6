"""Requests that no client library sends, answered as a Kafka 4.3 answers them: each was asked there too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kstore.testing.cluster import Cluster
from kstore.wire.messages.commits import OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from kstore.wire.messages.configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)
from kstore.wire.messages.consumer_groups import ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest
from kstore.wire.messages.groups import FindCoordinatorRequest, SyncGroupRequest
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kstore.wire.messages.sessions import ApiVersionsRequest
from kstore.wire.messages.transactions import InitProducerIdRequest
from support.wire_client import WireClient, fetch_request

UNKNOWN_TOPIC = 3
INVALID_TOPIC = 17
INCONSISTENT_GROUP_PROTOCOL = 23
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
UNKNOWN_TOPIC_ID = 100


@pytest.fixture(scope="module")
def client() -> Iterator[WireClient]:
    with Cluster() as cluster, WireClient(cluster.bootstrap) as made:
        made.make_topic("t")
        assert made.produce("t", [b"a", b"b"]).error_code == 0
        yield made


def list_offsets(client: WireClient, timestamp: int, version: int, times: int = 1) -> list[Any]:
    one = ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name="t", partitions=[one] * times)])
    return list(client.ask(request, version).topics[0].partitions)


@pytest.mark.parametrize(("timestamp", "since"), [(-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 12)])
def test_special_times_have_their_versions(client: WireClient, timestamp: int, since: int) -> None:
    for version in range(1, 12):
        (found,) = list_offsets(client, timestamp, version)
        assert found.error_code == (0 if version >= since else UNSUPPORTED_VERSION), version
        assert version >= since or (found.offset, found.timestamp) == (-1, -1)


def test_a_partition_that_is_asked_for_twice_is_refused_once(client: WireClient) -> None:
    assert [one.error_code for one in list_offsets(client, -1, 5, times=2)] == [INVALID_REQUEST]
    assert [one.error_code for one in list_offsets(client, -1, 5)] == [0]


def metadata(client: WireClient, version: int, *topics: MetadataRequestTopic) -> Any:
    return client.ask(MetadataRequest(topics=list(topics), allow_auto_topic_creation=False), version)


def test_a_topic_that_is_asked_for_twice_is_told_once(client: WireClient) -> None:
    topics = metadata(client, 9, MetadataRequestTopic(name="t"), MetadataRequestTopic(name="t")).topics
    assert [one.name for one in topics] == ["t"]


@pytest.mark.parametrize("version", [10, 11])
def test_ids_before_there_were_answers_for_them(client: WireClient, version: int) -> None:
    for topic in (MetadataRequestTopic(name=None), MetadataRequestTopic(name=None, topic_id=b"x" * 16)):
        answer = metadata(client, version, topic)
        assert [(one.error_code, one.name) for one in answer.topics] == [(INVALID_REQUEST, "")]
        assert list(answer.brokers) == []


def test_an_id_counts_more_than_a_name(client: WireClient) -> None:
    (found,) = metadata(client, 12, MetadataRequestTopic(name="t", topic_id=b"x" * 16)).topics
    assert (found.error_code, found.name) == (UNKNOWN_TOPIC_ID, None)


def test_a_sync_says_which_protocol_it_means(client: WireClient) -> None:
    client.ask(FindCoordinatorRequest(key="g", key_type=0), 3)
    request = SyncGroupRequest(group_id="g", generation_id=1, member_id="m", assignments=[])
    assert client.ask(request, 5).error_code == INCONSISTENT_GROUP_PROTOCOL
    assert client.ask(request, 4).error_code != INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize(("name", "version"), [("a b", "1"), ("", "1"), ("a", "1 "), ("-a", "1"), ("ä", "1")])
def test_software_has_a_name_that_is_a_word(client: WireClient, name: str, version: str) -> None:
    wrong = ApiVersionsRequest(client_software_name=name, client_software_version=version)
    answer = client.ask(wrong, 3)
    assert (answer.error_code, list(answer.api_keys)) == (INVALID_REQUEST, [])
    good = ApiVersionsRequest(client_software_name="apache-kafka-java", client_software_version="4.3.1")
    assert client.ask(good, 3).error_code == 0


def test_a_transactional_id_is_not_empty(client: WireClient) -> None:
    request = InitProducerIdRequest(transactional_id="", transaction_timeout_ms=1000)
    assert client.ask(request, 4).error_code == INVALID_REQUEST


def test_offsets_of_partitions_that_are_not_there_are_not_deleted(client: WireClient) -> None:
    client.ask(FindCoordinatorRequest(key="reader", key_type=0), 3)
    joined = client.ask(
        ConsumerGroupHeartbeatRequest(
            group_id="reader", member_id="m", member_epoch=0, rebalance_timeout_ms=5000, topic_partitions=[],
            subscribed_topic_names=["t"],
        ),
        0,
    )  # fmt: skip
    assert joined.error_code == 0
    parts = [OffsetDeleteRequestPartition(partition_index=9)]
    request = OffsetDeleteRequest(group_id="reader", topics=[OffsetDeleteRequestTopic(name="t", partitions=parts)])
    assert client.ask(request, 0).topics[0].partitions[0].error_code == UNKNOWN_TOPIC
    ask = ConsumerGroupDescribeRequest(group_ids=["reader"], include_authorized_operations=False)
    assert [one.subscribed_topic_regex for one in client.ask(ask, 1).groups[0].members] == [""]


@pytest.mark.parametrize(("name", "code"), [("a/b", INVALID_TOPIC), ("", INVALID_REQUEST), ("absent", UNKNOWN_TOPIC)])
def test_topics_whose_configuration_cannot_be_changed(client: WireClient, name: str, code: int) -> None:
    change = IncrementalAlterConfigsRequestAlterableConfig(name="retention.ms", config_operation=0, value="1000")
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(
        resource_type=2, resource_name=name, configs=[change]
    )
    answer = client.ask(IncrementalAlterConfigsRequest(resources=[resource], validate_only=True), 1)
    assert answer.responses[0].error_code == code


def test_aborted_transactions_of_a_topic_that_is_not_there(client: WireClient) -> None:
    def aborted(topic: str, offset: int) -> Any:
        return client.ask(fetch_request(topic, offset), 12).responses[0].partitions[0].aborted_transactions

    assert list(aborted("absent", 0)) == []
    assert aborted("t", 99) is None
    assert aborted("t", 0) is None
