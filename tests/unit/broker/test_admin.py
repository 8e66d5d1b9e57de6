"""DescribeCluster, DescribeTopicPartitions, ElectLeaders, reassignments; epochs, producers, sizes, DeleteRecords."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import kstore
from kstore.records import encode_batches
from kstore.testing.cluster import Cluster
from kstore.wire.messages.metadata import (
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    TopicRequest,
)
from kstore.wire.messages.offsets import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from kstore.wire.messages.producers import DescribeProducersRequest
from kstore.wire.messages.producers import TopicRequest as ProducersTopic
from kstore.wire.messages.replicas import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
    TopicPartitions,
)
from kstore.wire.messages.topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from support.wire_client import WireClient, produce_request

FENCED_LEADER_EPOCH = 74


def create(client: WireClient, name: str, partitions: int = 1, **config: str) -> None:
    configs = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in config.items()]
    topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, assignments=[], configs=configs)
    (made,) = client.ask(CreateTopicsRequest(topics=[topic]), 7).topics
    assert made.error_code == 0


# -- the cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
def test_describe_cluster(cluster: Cluster, client: WireClient, version: int) -> None:
    answer = client.ask(DescribeClusterRequest(include_cluster_authorized_operations=True), version)
    (broker,) = answer.brokers
    assert f"{broker.host}:{broker.port}" == cluster.bootstrap
    assert answer.controller_id == broker.broker_id
    assert answer.cluster_id
    assert answer.cluster_authorized_operations == 0b1111110100000
    plain = client.ask(DescribeClusterRequest(include_cluster_authorized_operations=False), version)
    assert plain.cluster_authorized_operations == -(1 << 31)


def test_endpoints_that_are_not_here(client: WireClient) -> None:
    for kind, code in ((2, 114), (7, 115)):
        request = DescribeClusterRequest(include_cluster_authorized_operations=False, endpoint_type=kind)
        assert client.ask(request, 1).error_code == code


def test_partitions_page_by_page(client: WireClient) -> None:
    for name in ("a", "b", "c"):
        create(client, name, 3)
    places = []
    cursor = None
    pages = 0
    while True:
        request = DescribeTopicPartitionsRequest(topics=[], response_partition_limit=2, cursor=cursor)
        answer = client.ask(request, 0)
        pages += 1
        page = [(topic.name, one.partition_index) for topic in answer.topics for one in topic.partitions]
        assert 1 <= len(page) <= 2
        places += page
        if answer.next_cursor is None:
            break
        cursor = DescribeTopicPartitionsRequestCursor(
            topic_name=answer.next_cursor.topic_name, partition_index=answer.next_cursor.partition_index
        )
    assert places == [(name, index) for name in "abc" for index in range(3)]
    assert pages == 5


def test_named_topics_and_unknown_ones(client: WireClient) -> None:
    create(client, "b", 2)

    def ask(*names: str, cursor: Any = None) -> list[tuple[str, int, int]]:
        request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name=name) for name in names], cursor=cursor)
        found = client.ask(request, 0).topics
        return [(topic.name, topic.error_code, len(list(topic.partitions))) for topic in found]

    assert ask("no pe", "b", "a", "b") == [("a", 3, 0), ("b", 0, 2), ("no pe", 17, 0)]
    second = DescribeTopicPartitionsRequestCursor(topic_name="b", partition_index=1)
    assert ask("b", "a", cursor=second) == [("b", 0, 1)]


def test_a_cursor_below_zero_ends_the_connection(client: WireClient) -> None:
    cursor = DescribeTopicPartitionsRequestCursor(topic_name="b", partition_index=-1)
    client.post(DescribeTopicPartitionsRequest(topics=[], cursor=cursor), 0)
    assert client.is_closed_by_broker()


@pytest.mark.parametrize("version", range(3))
def test_elect_leaders(client: WireClient, version: int) -> None:
    create(client, "t", 2)
    asked = [TopicPartitions(topic="t", partitions=[0, 5]), TopicPartitions(topic="absent", partitions=[0])]
    answer = client.ask(ElectLeadersRequest(topic_partitions=asked), version)
    codes = [(one.topic, [row.error_code for row in one.partition_result]) for one in answer.replica_election_results]
    assert codes == [("t", [84, 3]), ("absent", [3])]
    every = client.ask(ElectLeadersRequest(topic_partitions=None), version)
    assert [row for one in every.replica_election_results for row in one.partition_result] == []


def test_nothing_is_reassigned(client: WireClient) -> None:
    answer = client.ask(ListPartitionReassignmentsRequest(topics=None), 0)
    assert (answer.error_code, list(answer.topics)) == (0, [])


# -- partitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 5))
def test_where_epochs_end(client: WireClient, version: int) -> None:
    create(client, "t")
    client.produce("t", [b"a", b"b"])

    def ask(epoch: int, known: int = -1, topic: str = "t", partition: int = 0) -> tuple[int, int, int]:
        asked = OffsetForLeaderPartition(partition=partition, current_leader_epoch=known, leader_epoch=epoch)
        request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(topic=topic, partitions=[asked])])
        one = client.ask(request, version).topics[0].partitions[0]
        return one.error_code, one.leader_epoch, one.end_offset

    assert ask(0) == (0, 0, 2)
    assert ask(7)[1:] == (-1, -1)
    assert ask(0, known=9)[0] == 75
    assert ask(0, topic="absent")[0] == 3
    assert ask(0, partition=4)[0] == 3


def end_of(client: WireClient, topic: str, epoch: int) -> tuple[int, int, int]:
    asked = OffsetForLeaderPartition(partition=0, current_leader_epoch=-1, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(topic=topic, partitions=[asked])])
    one = client.ask(request, 4).topics[0].partitions[0]
    return one.error_code, one.leader_epoch, one.end_offset


def test_each_start_is_a_new_term(cluster: Cluster, client: WireClient) -> None:
    create(client, "t")
    create(client, "empty")
    client.produce("t", [b"a", b"b"])
    for term in (1, 2):
        cluster.restart()
        with WireClient(cluster.bootstrap) as again:
            assert end_of(again, "t", term) == (0, term, 1 + term)
            assert again.fetch("t", 0, current_leader_epoch=term - 1).error_code == FENCED_LEADER_EPOCH
            assert again.fetch("t", 0, current_leader_epoch=term).error_code == 0
            again.produce("t", [b"more"])
            assert end_of(again, "t", term - 1) == (0, term - 1, 1 + term)
            assert end_of(again, "empty", 0) == (0, 0, 0)


def test_who_had_read_what_a_crash_took_can_tell(cluster: Cluster, client: WireClient, tmp_path: Path) -> None:
    """KIP-320: offset 2 is given a second time, and its first reader learns that epoch 0 ended before it."""
    create(client, "t")
    client.produce("t", [b"a", b"b"])
    shutil.copytree(cluster.directory, tmp_path / "left")
    client.produce("t", [b"lost"])
    with Cluster(directory=str(tmp_path / "left")) as left, WireClient(left.bootstrap) as again:
        assert again.produce("t", [b"instead", b"and on"]).base_offset == 2
        assert end_of(again, "t", 0) == (0, 0, 2)
        found = list(kstore.decode_batches(again.fetch("t", 2).records))
        assert [record.value for record in found] == [b"instead", b"and on"]


def test_describe_producers(client: WireClient) -> None:
    create(client, "t")
    client.produce("t", [b"plain"])
    records = encode_batches([b"x", b"y"], producer_id=77, producer_epoch=3, base_sequence=0, timestamp_ms=5)
    client.ask(produce_request("t", records), 9)

    def ask(topic: str, partition: int) -> Any:
        asked = [ProducersTopic(name=topic, partition_indexes=[partition])]
        return client.ask(DescribeProducersRequest(topics=asked), 0).topics[0].partitions[0]

    found = ask("t", 0)
    (one,) = found.active_producers
    assert (found.error_code, one.producer_id, one.producer_epoch, one.last_sequence) == (0, 77, 3, 1)
    assert (one.last_timestamp, one.coordinator_epoch, one.current_txn_start_offset) == (5, -1, -1)
    assert ask("t", 9).error_code == 3
    assert ask("absent", 0).error_code == 3
    assert ask("no pe", 0).error_code == 17


def delete_below(client: WireClient, offset: int, topic: str = "t", partition: int = 0, version: int = 2) -> Any:
    asked = [DeleteRecordsPartition(partition_index=partition, offset=offset)]
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic, partitions=asked)], timeout_ms=1000)
    one = client.ask(request, version).topics[0].partitions[0]
    return one.error_code, one.low_watermark


@pytest.mark.parametrize("version", range(3))
def test_delete_records(cluster: Cluster, client: WireClient, version: int) -> None:
    create(client, "t")
    for _ in range(4):
        client.produce("t", [b"x"])
    assert delete_below(client, 2, version=version) == (0, 2)
    assert delete_below(client, 1) == (0, 2)
    assert delete_below(client, 5) == (1, -1)
    assert delete_below(client, -2) == (1, -1)
    assert client.fetch("t", 1).error_code == 1
    assert client.fetch("t", 2).log_start_offset == 2
    assert delete_below(client, -1) == (0, 4)
    cluster.stop()
    with kstore.open(cluster.directory, read_only=True) as store:
        assert store.partition("t", 0).log_start_offset == 4


def test_records_that_are_not_deleted(client: WireClient) -> None:
    create(client, "keep", cleanup_policy="compact")
    create(client, "__consumer_offsets")
    assert delete_below(client, 0, "keep") == (44, -1)
    assert delete_below(client, 0, "__consumer_offsets") == (17, -1)
    assert delete_below(client, 0, "absent") == (3, -1)
    assert delete_below(client, 0, "keep", partition=3) == (3, -1)


@pytest.mark.parametrize("version", range(1, 6))
def test_describe_log_dirs(cluster: Cluster, client: WireClient, version: int) -> None:
    create(client, "t", 2)
    create(client, "u")
    client.produce("t", [b"x" * 1000], partition=1)
    (found,) = client.ask(DescribeLogDirsRequest(topics=None), version).results
    assert (found.error_code, found.log_dir) == (0, cluster.directory)
    rows = [(topic.name, row) for topic in found.topics for row in topic.partitions]
    sizes = {(name, row.partition_index): row.partition_size for name, row in rows}
    assert sizes[("t", 1)] == os.stat(f"{cluster.directory}/t-1/00000000000000000000.log").st_size
    assert sizes[("t", 0)] == sizes[("u", 0)] == 0
    if version >= 4:
        assert found.total_bytes > found.usable_bytes > 0
    asked = [DescribableLogDirTopic(topic="t", partitions=[1, 9]), DescribableLogDirTopic(topic="no", partitions=[0])]
    (some,) = client.ask(DescribeLogDirsRequest(topics=asked), version).results
    assert [(topic.name, [one.partition_index for one in topic.partitions]) for topic in some.topics] == [("t", [1])]


def test_sizes_are_told_without_opening_a_log(cluster: Cluster, client: WireClient) -> None:
    create(client, "t")
    client.produce("t", [b"x" * 1000])
    cluster.restart()
    assert cluster.broker.store.opened("t", 0) is None
    with WireClient(cluster.bootstrap) as again:
        (found,) = again.ask(DescribeLogDirsRequest(topics=None), 4).results
    assert found.topics[0].partitions[0].partition_size > 1000
    assert cluster.broker.store.opened("t", 0) is None
