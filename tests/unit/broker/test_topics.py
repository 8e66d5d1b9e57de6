"""CreateTopics, DeleteTopics and CreatePartitions: what they make, and what they refuse with which code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kstore
from kstore.testing.cluster import Cluster
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from support.wire_client import WireClient, fetch_request

NO_ID = bytes(16)


def wanted(name: str, partitions: int = -1, factor: int = -1, assigned: Any = (), **config: str | None) -> Any:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        assignments=[CreatableReplicaAssignment(partition_index=i, broker_ids=ids) for i, ids in assigned],
        configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in config.items()],
    )


def create(client: WireClient, *topics: Any, version: int = 7, validate_only: bool = False) -> list[Any]:
    request = CreateTopicsRequest(topics=list(topics), timeout_ms=1000, validate_only=validate_only)
    return list(client.ask(request, version).topics)


def delete(client: WireClient, *places: tuple[str | None, bytes], version: int = 6) -> list[Any]:
    if version < 6:
        request = DeleteTopicsRequest(topic_names=[name for name, _ in places], timeout_ms=1000)
    else:
        states = [DeleteTopicState(name=name, topic_id=topic_id) for name, topic_id in places]
        request = DeleteTopicsRequest(topics=states, timeout_ms=1000)
    return list(client.ask(request, version).responses)


def grow(client: WireClient, name: str, count: int, assigned: Any = None, *, validate_only: bool = False) -> Any:
    ids = None if assigned is None else [CreatePartitionsAssignment(broker_ids=one) for one in assigned]
    topics = [CreatePartitionsTopic(name=name, count=count, assignments=ids)]
    request = CreatePartitionsRequest(topics=topics, timeout_ms=1000, validate_only=validate_only)
    return client.ask(request, 3).results[0]


def partitions_of(client: WireClient, name: str) -> int:
    """0 where there is no such topic."""
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    return len(list(client.ask(request, 9).topics[0].partitions))


# -- making ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 8))
def test_a_topic_is_made(client: WireClient, version: int) -> None:
    (made,) = create(client, wanted("t", 3, 1, retention_ms="60000"), version=version)
    assert (made.error_code, made.name) == (0, "t")
    assert partitions_of(client, "t") == 3
    if version >= 5:
        assert (made.num_partitions, made.replication_factor) == (3, 1)
        config = {one.name: (one.value, one.config_source) for one in made.configs}
        assert config["retention.ms"] == ("60000", 1)
        assert config["cleanup.policy"] == ("delete", 5)
    if version >= 7:
        assert made.topic_id != NO_ID


def test_a_made_topic_outlives_the_broker(cluster: Cluster, client: WireClient) -> None:
    create(client, wanted("t", 3, retention_ms="60000"))
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        assert partitions_of(again, "t") == 3
    cluster.stop()
    with kstore.open(cluster.directory, read_only=True) as store:
        assert store.topic("t").overrides == {"retention.ms": "60000"}


def test_the_brokers_default_number_of_partitions(tmp_path: Path) -> None:
    config = {"num.partitions": "4"}
    with Cluster(directory=str(tmp_path / "d"), config=config) as four, WireClient(four.bootstrap) as client:
        assert create(client, wanted("t"))[0].num_partitions == 4


def test_an_assignment_by_hand(cluster: Cluster, client: WireClient) -> None:
    node = cluster.broker.node.node_id
    (made,) = create(client, wanted("t", assigned=[(0, [node]), (1, [node])]))
    assert (made.error_code, made.num_partitions) == (0, 2)


NODE = 1
REFUSED = {
    "name": (wanted("no pe"), 17),
    "empty name": (wanted(""), 17),
    "dots": (wanted(".."), 17),
    "there already": (wanted("there"), 36),
    "collides": (wanted("a_b"), 17),
    "metadata": (wanted("__cluster_metadata"), 29),
    "no partitions": (wanted("x", 0), 37),
    "minus two": (wanted("x", -2), 37),
    "too many partitions": (wanted("x", 10_000_000), 37),
    "no replicas": (wanted("x", 1, 0), 38),
    "three replicas": (wanted("x", 1, 3), 38),
    "unknown key": (wanted("x", **{"retention.mss": "5"}), 40),
    "bad value": (wanted("x", retention_ms="soon"), 40),
    "null value": (wanted("x", retention_ms=None), 40),
    "assignment and factor": (wanted("x", -1, 1, [(0, [NODE])]), 42),
    "assignment and count": (wanted("x", 1, -1, [(0, [NODE])]), 42),
    "partition twice": (wanted("x", assigned=[(0, [NODE]), (0, [NODE])]), 39),
    "hole": (wanted("x", assigned=[(0, [NODE]), (2, [NODE])]), 39),
    "no such broker": (wanted("x", assigned=[(0, [99])]), 39),
    "empty replicas": (wanted("x", assigned=[(0, [])]), 39),
    "broker twice": (wanted("x", assigned=[(0, [NODE, NODE])]), 39),
}


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(client: WireClient, case: str, validate_only: bool) -> None:
    create(client, wanted("there"), wanted("a.b"))
    topic, code = REFUSED[case]
    refused, made = create(client, topic, wanted("other"), validate_only=validate_only)
    assert (refused.error_code, made.error_code) == (code, 0)
    assert refused.error_message
    assert partitions_of(client, "x") == 0


def test_validating_makes_nothing(client: WireClient) -> None:
    (made,) = create(client, wanted("t", 3), validate_only=True)
    assert (made.error_code, made.num_partitions) == (0, 3)
    assert partitions_of(client, "t") == 0


def test_a_name_twice_in_one_request(client: WireClient) -> None:
    results = create(client, wanted("twice"), wanted("once"), wanted("twice"))
    assert {one.name: one.error_code for one in results} == {"twice": 42, "once": 0}
    assert partitions_of(client, "twice") == 0


# -- deleting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 7))
def test_a_topic_is_deleted_by_name(client: WireClient, version: int) -> None:
    create(client, wanted("t", 2))
    (gone,) = delete(client, ("t", NO_ID), version=version)
    assert (gone.error_code, gone.name) == (0, "t")
    assert partitions_of(client, "t") == 0
    assert delete(client, ("t", NO_ID), version=version)[0].error_code == 3


def test_a_topic_is_deleted_by_id(client: WireClient) -> None:
    (made,) = create(client, wanted("t"))
    (gone,) = delete(client, (None, made.topic_id))
    assert (gone.error_code, gone.name, gone.topic_id) == (0, "t", made.topic_id)
    assert delete(client, (None, made.topic_id))[0].error_code == 100


def test_deletions_that_contradict_themselves(client: WireClient) -> None:
    (made,) = create(client, wanted("t"))
    assert delete(client, ("t", made.topic_id))[0].error_code == 42
    assert delete(client, (None, NO_ID))[0].error_code == 42
    assert {one.error_code for one in delete(client, ("t", NO_ID), ("t", NO_ID))} == {42}
    assert {one.error_code for one in delete(client, (None, made.topic_id), (None, made.topic_id))} == {42}
    assert partitions_of(client, "t") == 1


@pytest.mark.parametrize(("version", "code"), [(2, 42), (3, 73), (6, 73)])
def test_where_deletion_is_disabled(tmp_path: Path, version: int, code: int) -> None:
    config = {"delete.topic.enable": "false"}
    with Cluster(directory=str(tmp_path / "d"), config=config) as keeps, WireClient(keeps.bootstrap) as client:
        create(client, wanted("t"))
        assert delete(client, ("t", NO_ID), version=version)[0].error_code == code
        assert partitions_of(client, "t") == 1


def test_a_waiting_fetch_is_answered_when_its_topic_goes(cluster: Cluster, client: WireClient) -> None:
    create(client, wanted("t"))
    with WireClient(cluster.bootstrap) as waiting:
        waiting.post(fetch_request("t", 0, max_wait_ms=600_000), 12)
        delete(client, ("t", NO_ID))
        answer = waiting.receive(1, 12)
    assert answer.responses[0].partitions[0].error_code == 3


def test_a_topic_that_is_made_again_is_empty_and_another(client: WireClient) -> None:
    (first,) = create(client, wanted("t"))
    client.produce("t", [b"old"])
    delete(client, ("t", NO_ID))
    (second,) = create(client, wanted("t"))
    assert second.topic_id != first.topic_id
    assert client.fetch("t", 0).high_watermark == 0


# -- growing ---------------------------------------------------------------------------------------------


def test_a_topic_grows_and_keeps_its_records(cluster: Cluster, client: WireClient) -> None:
    create(client, wanted("t", 2))
    client.produce("t", [b"kept"], partition=1)
    assert grow(client, "t", 4).error_code == 0
    assert partitions_of(client, "t") == 4
    assert client.produce("t", [b"new"], partition=3).error_code == 0
    assert client.fetch("t", 0, partition=1).high_watermark == 1
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        assert partitions_of(again, "t") == 4
        assert again.fetch("t", 0, partition=3).high_watermark == 1


def test_growth_with_an_assignment(cluster: Cluster, client: WireClient) -> None:
    node = cluster.broker.node.node_id
    create(client, wanted("t", 1))
    assert grow(client, "t", 3, [[node]]).error_code == 39
    assert grow(client, "t", 3, [[node], [99]]).error_code == 39
    assert grow(client, "t", 3, [[node], [node]]).error_code == 0


def test_what_does_not_grow(client: WireClient) -> None:
    create(client, wanted("t", 2))
    assert grow(client, "absent", 3).error_code == 3
    assert grow(client, "t", 2).error_code == 37
    assert grow(client, "t", 1).error_code == 37
    assert grow(client, "t", 3, validate_only=True).error_code == 0
    assert partitions_of(client, "t") == 2
    twice = [CreatePartitionsTopic(name="t", count=count, assignments=None) for count in (3, 4)]
    results = client.ask(CreatePartitionsRequest(topics=twice, timeout_ms=1, validate_only=False), 3).results
    assert [one.error_code for one in results] == [42]
