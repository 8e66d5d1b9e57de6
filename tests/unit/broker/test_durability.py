"""What acks mean: who is answered before an fsync, who after, and what is said when it fails."""

from __future__ import annotations

import select
import threading
from pathlib import Path

import pytest

import kstore
from kstore.errors import StorageError
from kstore.testing.cluster import Cluster
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from support.until import until
from support.wire_client import WireClient, produce_request

QUIET = {"log.flush.scheduler.interval.ms": 0}
"""No background flush: what syncs is asked for."""


class Gate:
    """Holds every sync of a partition back until it is opened, and counts them."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.partition = cluster.broker.partition(topic, 0)
        self.opened = threading.Event()
        self.syncs = 0
        self.failure: Exception | None = None
        sync = self.partition.sync

        def held() -> int:
            self.syncs += 1
            assert self.opened.wait(30)
            if self.failure is not None:
                raise self.failure
            return sync()

        self.partition.sync = held  # type: ignore[method-assign]


def answered(client: WireClient) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


def code_and_offset(client: WireClient) -> tuple[int, int]:
    one = client.receive(0, 9).responses[0].partition_responses[0]
    return one.error_code, one.base_offset


def on_cluster(path: Path, **config: object) -> Cluster:
    return Cluster(directory=str(path / "d"), config={**QUIET, **config})


def begin(cluster: Cluster, client: WireClient) -> Gate:
    client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    return Gate(cluster, "t")


BATCH = kstore.encode_batches([b"x"])


def test_acks_all_waits_and_shares_syncs(tmp_path: Path) -> None:
    count = 20
    with on_cluster(tmp_path) as cluster, WireClient(cluster.bootstrap) as first:
        gate = begin(cluster, first)
        clients = [WireClient(cluster.bootstrap) for _ in range(count)]
        for client in clients:
            client.post(produce_request("t", BATCH, acks=-1), 9)
        while gate.partition.log_end_offset < count:
            first.ask(MetadataRequest(topics=[]), 9)
        assert first.produce("t", [b"y"], acks=1).base_offset == count, "acks=1 does not wait"
        assert not any(answered(client) for client in clients)
        gate.opened.set()
        assert sorted(code_and_offset(client) for client in clients) == [(0, offset) for offset in range(count)]
        assert gate.syncs <= 3, "the first, and one or two for all who came while it ran"
        for client in clients:
            client.close()


def test_answers_of_one_connection_keep_their_order(tmp_path: Path) -> None:
    with on_cluster(tmp_path) as cluster, WireClient(cluster.bootstrap) as client:
        gate = begin(cluster, client)
        client.post(produce_request("t", BATCH, acks=-1), 9)
        client.post(produce_request("t", BATCH, acks=1), 9)
        while gate.partition.log_end_offset < 2:
            continue
        assert not answered(client), "the second is ready, but not first"
        gate.opened.set()
        assert [code_and_offset(client) for _ in range(2)] == [(0, 0), (0, 1)]


def test_a_sync_that_fails_is_told_to_all_who_waited(tmp_path: Path) -> None:
    with on_cluster(tmp_path) as cluster, WireClient(cluster.bootstrap) as client:
        gate = begin(cluster, client)
        gate.failure = StorageError(5, gate.partition.path, "fsync", "Input/output error")
        for _ in range(3):
            client.post(produce_request("t", BATCH, acks=-1), 9)
        gate.opened.set()
        assert [code_and_offset(client)[0] for _ in range(3)] == [56, 56, 56]


def test_a_disk_that_stalls_costs_those_who_wait_for_it_a_timeout_and_nobody_else(tmp_path: Path) -> None:
    """S28: the time of the request counts; who sends the batch again is told where it lies."""
    with on_cluster(tmp_path) as cluster, WireClient(cluster.bootstrap) as client, WireClient(cluster.bootstrap) as two:
        gate = begin(cluster, client)
        batch = kstore.encode_batches([b"x"], producer_id=1, producer_epoch=0, base_sequence=0)
        client.post(produce_request("t", BATCH, acks=-1, timeout_ms=60_000), 9)
        until(lambda: gate.syncs > 0)
        two.post(produce_request("t", batch, acks=-1, timeout_ms=0), 9)
        with WireClient(cluster.bootstrap) as other:
            other.make_topic("other")
            assert other.produce("other", [b"y"]).error_code == 0
            assert other.produce("t", [b"z"], acks=1).error_code == 0
            assert other.fetch("other", 0).records
        assert code_and_offset(two) == (7, -1)
        assert not answered(client), "its time is not over"
        two.post(produce_request("t", batch, acks=-1), 9)
        gate.opened.set()
        assert code_and_offset(client) == (0, 0)
        assert code_and_offset(two) == (0, 1)


@pytest.mark.parametrize(
    ("config", "acks", "waits"),
    [
        ({}, 1, False),
        ({"kstore.acks.all": "page-cache"}, -1, False),
        ({"log.flush.interval.messages": 1}, 1, True),
        ({"log.flush.interval.messages": 3}, 1, False),
    ],
)
def test_weaker_and_stronger_choices(tmp_path: Path, config: dict[str, object], acks: int, waits: bool) -> None:
    with on_cluster(tmp_path, **config) as cluster, WireClient(cluster.bootstrap) as client:
        gate = begin(cluster, client)
        client.post(produce_request("t", BATCH, acks=acks), 9)
        if not waits:
            assert code_and_offset(client) == (0, 0)
            assert gate.syncs == 0
        else:
            while not gate.syncs:
                continue
            assert not answered(client)
            gate.opened.set()
            assert code_and_offset(client) == (0, 0)
        gate.opened.set()


def test_a_commit_is_answered_after_its_sync(tmp_path: Path) -> None:
    from kstore.wire.messages import commits

    with on_cluster(tmp_path) as cluster, WireClient(cluster.bootstrap) as client:
        begin(cluster, client)
        one = commits.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
        topics = [commits.OffsetCommitRequestTopic(name="t", partitions=[one])]
        request = commits.OffsetCommitRequest(group_id="g", member_id="", topics=topics)
        assert client.ask(request, 9).topics[0].partitions[0].error_code == 0
        gate = Gate(cluster, "__consumer_offsets")
        client.post(request, 9)
        until(lambda: gate.syncs > 0)
        assert not answered(client)
        gate.opened.set()
        assert client.receive(8, 9).topics[0].partitions[0].error_code == 0
