"""The cluster of one node: topics, what listeners hear, producer ids that nobody had before."""

from __future__ import annotations

from pathlib import Path

import pytest

import kstore
from kstore.cluster import producer_ids
from kstore.cluster.embedded import EmbeddedCluster
from kstore.cluster.metadata import Change, Metadata, Node
from kstore.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicationFactor,
    InvalidTopicName,
    TopicExists,
    UnknownTopicOrPartition,
)

NODE = Node(1, "localhost", 9092)


def open_cluster(path: Path) -> tuple[kstore.Store, EmbeddedCluster]:
    store = kstore.open(path)
    return store, EmbeddedCluster(store, NODE)


def test_topics_and_what_listeners_hear(tmp_path: Path) -> None:
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        heard: list[Change] = []
        pictures: list[Metadata] = []

        def listen(metadata: Metadata, change: Change) -> None:
            heard.append(change)
            pictures.append(metadata)

        cluster.listen(listen)
        made = cluster.create_topic("t", 2, 1, {"retention.ms": "5"}, validate_only=False)
        assert cluster.metadata.by_id[made.topic_id] == made
        assert (len(made.partitions), made.config.retention_ms, made.overrides) == (2, 5, {"retention.ms": "5"})
        cluster.create_partitions("t", 3, validate_only=True)
        assert len(cluster.metadata.topics["t"].partitions) == 2
        cluster.create_partitions("t", 3)
        cluster.alter_topic("t", {"retention.ms": None, "segment.ms": "7"})
        assert dict(cluster.metadata.topics["t"].overrides) == {"segment.ms": "7"}
        cluster.delete_topic("t")
        one = frozenset(["t"])
        assert heard == [Change(created=one), Change(changed=one), Change(changed=one), Change(deleted=one)]
        assert [picture.version for picture in pictures] == sorted({picture.version for picture in pictures})
        assert not cluster.metadata.topics
        assert not cluster.metadata.by_id


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        cluster.create_topic("t", 2, -1, {}, validate_only=False)
        before = cluster.metadata
        for name, partitions, replicas, config, error in [
            ("t", 1, 1, {}, TopicExists),
            ("a/b", 1, 1, {}, InvalidTopicName),
            ("u", 0, 1, {}, InvalidPartitions),
            ("u", 10**9, 1, {}, InvalidPartitions),
            ("u", 1, 3, {}, InvalidReplicationFactor),
            ("u", 1, 1, {"nonsense": "1"}, InvalidConfig),
        ]:
            for validate_only in (True, False):
                with pytest.raises(error):
                    cluster.create_topic(name, partitions, replicas, config, validate_only=validate_only)
        for count in (0, 1, 2):
            with pytest.raises(InvalidPartitions):
                cluster.create_partitions("t", count)
        with pytest.raises(InvalidConfig):
            cluster.alter_topic("t", {"retention.ms": "soon"})
        for change in (lambda: cluster.delete_topic("u"), lambda: cluster.create_partitions("u", 4)):
            with pytest.raises(UnknownTopicOrPartition):
                change()
        assert cluster.metadata is before


def test_growth_outlives_a_restart(tmp_path: Path) -> None:
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        cluster.create_topic("t", 1, -1, {}, validate_only=False)
        cluster.create_partitions("t", 4)
        store.partition("t", 3).append([b"x"])
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        assert len(cluster.metadata.topics["t"].partitions) == 4
        assert store.partition("t", 3).log_end_offset == 1


def test_producer_ids_never_come_twice(tmp_path: Path) -> None:
    given = []
    for _ in range(3):
        store, cluster = open_cluster(tmp_path / "d")
        with store:
            given += [cluster.next_producer_id() for _ in range(producer_ids.BLOCK + 2)]
    assert given == sorted(set(given))


def test_producer_ids_begin_above_those_in_logs(tmp_path: Path) -> None:
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        cluster.create_topic("t", 1, -1, {}, validate_only=False)
        batch = kstore.encode_batches(
            [b"x"], producer_id=77_000, producer_epoch=0, base_sequence=0, timestamp_ms=store.clock()
        )
        store.partition("t", 0).append_batches(batch)
        assert cluster.next_producer_id() == 77_001
    path = tmp_path / "d" / producer_ids.FILE_NAME
    path.write_bytes(path.read_bytes()[:-2] + b"9\n")
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        assert cluster.next_producer_id() == 77_001, "a file that fails its check counts as absent"


def test_a_topic_that_came_through_the_store(tmp_path: Path) -> None:
    store, cluster = open_cluster(tmp_path / "d")
    with store:
        store.create_topic("t")
        assert "t" not in cluster.metadata.topics
        cluster.refresh()
        assert "t" in cluster.metadata.topics
