"""Metadata with auto-creation, ListOffsets with its special times, FindCoordinator."""

from __future__ import annotations

from pathlib import Path

import pytest

import kstore
from kstore.testing.cluster import Cluster
from kstore.wire.messages.groups import FindCoordinatorRequest
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from support.wire_client import WireClient, produce_request


def ask_for(*names: str, **options: bool) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequestTopic(name=name) for name in names], **options)


@pytest.mark.parametrize("version", range(14))
def test_metadata_in_every_version(cluster: Cluster, client: WireClient, version: int) -> None:
    answer = client.ask(ask_for("orders"), version)
    host, port = cluster.bootstrap.split(":")
    assert [(one.host, one.port) for one in answer.brokers] == [(host, int(port))]
    (topic,) = answer.topics
    assert (topic.error_code, topic.name) == (0, "orders")
    (partition,) = topic.partitions
    assert partition.leader_id == answer.brokers[0].node_id
    assert list(partition.isr_nodes) == [partition.leader_id]
    if version >= 12:
        by_id = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name=None, topic_id=topic.topic_id)]), version)
        assert by_id.topics[0].name == "orders"


def test_all_topics(client: WireClient) -> None:
    client.ask(ask_for("b", "a"), 9)
    assert [topic.name for topic in client.ask(MetadataRequest(topics=None), 9).topics] == ["a", "b"]
    assert [topic.name for topic in client.ask(MetadataRequest(topics=[]), 0).topics] == ["a", "b"]
    assert list(client.ask(MetadataRequest(topics=[]), 9).topics) == []


def test_names_that_no_topic_has(client: WireClient) -> None:
    answer = client.ask(ask_for("ok", "", "..", "a/b", "x" * 250, "no pe"), 9)
    assert [topic.error_code for topic in answer.topics] == [0, 17, 17, 17, 17, 17]


def test_no_creation_where_it_is_not_allowed(tmp_path: Path, client: WireClient) -> None:
    answer = client.ask(ask_for("absent", allow_auto_topic_creation=False), 9)
    assert answer.topics[0].error_code == 3
    config = {"auto.create.topics.enable": "false"}
    with Cluster(directory=str(tmp_path / "off"), config=config) as off, WireClient(off.bootstrap) as other:
        assert other.ask(ask_for("absent"), 9).topics[0].error_code == 3


def test_an_unknown_topic_id(client: WireClient) -> None:
    answer = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name=None, topic_id=b"x" * 16)]), 12)
    assert answer.topics[0].error_code == 100


@pytest.mark.parametrize("version", [8, 10, 12])
def test_authorized_operations_where_they_are_asked_for(client: WireClient, version: int) -> None:
    cluster_too = {"include_cluster_authorized_operations": True} if version <= 10 else {}
    answer = client.ask(ask_for("t", include_topic_authorized_operations=True, **cluster_too), version)
    assert answer.topics[0].topic_authorized_operations == 0b110111111000
    if version <= 10:
        assert answer.cluster_authorized_operations == 0b1111110100000
    plain = client.ask(ask_for("t"), version)
    assert plain.topics[0].topic_authorized_operations == -(1 << 31)


@pytest.mark.parametrize("version", range(1, 12))
def test_list_offsets(client: WireClient, version: int) -> None:
    client.ask(ask_for("orders"), 9)
    for time_ms in (1000, 3000, 2000):
        records = kstore.encode_batches([b"x", b"y"], timestamp_ms=time_ms)
        client.ask(produce_request("orders", records), 9)

    def at(time_ms: int, partition: int = 0) -> tuple[int, int, int]:
        wanted = [ListOffsetsPartition(partition_index=partition, timestamp=time_ms)]
        topics = [ListOffsetsTopic(name="orders", partitions=wanted)]
        one = client.ask(ListOffsetsRequest(replica_id=-1, topics=topics), version).topics[0].partitions[0]
        return one.error_code, one.offset, one.timestamp

    assert at(-1) == (0, 6, -1)
    assert at(-2) == (0, 0, -1)
    for time_ms, since, found in ((-3, 7, (0, 2, 3000)), (-4, 8, (0, 0, -1)), (-5, 9, (0, -1, -1))):
        assert at(time_ms) == (found if version >= since else (35, -1, -1))
    assert at(0) == (0, 0, 1000)
    assert at(1001) == (0, 2, 3000)
    assert at(3001) == (0, -1, -1)
    assert at(-9)[0] == 35
    assert at(-1, partition=4)[0] == 3


@pytest.mark.parametrize("version", range(7))
def test_find_coordinator(cluster: Cluster, client: WireClient, version: int) -> None:
    request = FindCoordinatorRequest(coordinator_keys=["g"]) if version > 3 else FindCoordinatorRequest(key="g")
    answer = client.ask(request, version)
    found = answer.coordinators[0] if version > 3 else answer
    assert (found.error_code, f"{found.host}:{found.port}") == (0, cluster.bootstrap)
