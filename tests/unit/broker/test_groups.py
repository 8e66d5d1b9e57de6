"""Groups over a socket: a member's way through both protocols, commits that survive, what old versions lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kstore
from kstore.groups import offsets
from kstore.testing.cluster import Cluster
from kstore.wire.messages import commits, consumer_groups, group_admin, groups
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from support.wire_client import WireClient

LOADING = 14


@pytest.fixture
def orders(client: WireClient) -> bytes:
    """The topic `orders` with one partition; its id."""
    answer = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="orders")]), 12)
    return bytes(answer.topics[0].topic_id)


def when_loaded(ask: Callable[[], Any], code: Callable[[Any], int]) -> Any:
    """The answer, once the coordinator has loaded its partition: clients retry that error too."""
    while True:
        answer = ask()
        if code(answer) != LOADING:
            return answer


def join(client: WireClient, version: int, member_id: str = "", **options: Any) -> Any:
    request = groups.JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[groups.JoinGroupRequestProtocol(name="range", metadata=b"subscription")],
        **options,
    )
    return when_loaded(lambda: client.ask(request, version), lambda answer: answer.error_code)


@pytest.mark.parametrize("version", range(10))
def test_a_member_joins_and_leaves(client: WireClient, version: int) -> None:
    joined = join(client, version)
    if version >= 4:
        assert joined.error_code == 79
        joined = join(client, version, joined.member_id)
    assert (joined.error_code, joined.generation_id, joined.leader) == (0, 1, joined.member_id)
    assert [member.metadata for member in joined.members] == [b"subscription"]

    mine = [groups.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"assigned")]
    sync_version = min(version, 5)
    sync = groups.SyncGroupRequest(
        group_id="g",
        generation_id=1,
        member_id=joined.member_id,
        protocol_type="consumer" if sync_version >= 5 else None,
        protocol_name="range" if sync_version >= 5 else None,
        assignments=mine,
    )
    assert client.ask(sync, sync_version).assignment == b"assigned"
    beat = groups.HeartbeatRequest(group_id="g", generation_id=1, member_id=joined.member_id)
    assert client.ask(beat, min(version, 4)).error_code == 0
    assert client.ask(beat.replace(generation_id=7), min(version, 4)).error_code == 22

    described = client.ask(group_admin.DescribeGroupsRequest(groups=["g", "absent"]), min(version, 6)).groups
    assert [(one.group_id, one.group_state) for one in described] == [("g", "Stable"), ("absent", "Dead")]
    assert described[0].members[0].client_host == "/127.0.0.1"
    listed = client.ask(group_admin.ListGroupsRequest(), min(version, 5)).groups
    assert [one.group_id for one in listed] == ["g"]

    leave_version = min(version, 5)
    if leave_version < 3:
        leave = groups.LeaveGroupRequest(group_id="g", member_id=joined.member_id)
    else:
        leave = groups.LeaveGroupRequest(group_id="g", members=[groups.MemberIdentity(member_id=joined.member_id)])
    assert client.ask(leave, leave_version).error_code == 0
    again = client.ask(leave, leave_version)
    code = again.error_code if leave_version < 3 else again.members[0].error_code
    assert code == 25


def commit_request(topic_id: bytes, version: int, offset: int) -> commits.OffsetCommitRequest:
    def topic(name: str, topic_id: bytes, *indexes: int) -> commits.OffsetCommitRequestTopic:
        partitions = [
            commits.OffsetCommitRequestPartition(
                partition_index=index, committed_offset=offset, committed_metadata="note"
            )
            for index in indexes
        ]
        named = {"topic_id": topic_id} if version >= 10 else {"name": name}
        return commits.OffsetCommitRequestTopic(partitions=partitions, **named)

    topics = [topic("absent", b"?" * 16, 0), topic("orders", topic_id, 0, 9)]
    return commits.OffsetCommitRequest(group_id="g", member_id="", topics=topics)


def fetch_request(topic_id: bytes, version: int, *, everything: bool = False) -> commits.OffsetFetchRequest:
    if version < 8:
        asked = [commits.OffsetFetchRequestTopic(name="orders", partition_indexes=[0, 1])]
        return commits.OffsetFetchRequest(group_id="g", topics=None if everything else asked)
    named = {"topic_id": topic_id} if version >= 10 else {"name": "orders"}
    topics = [commits.OffsetFetchRequestTopics(partition_indexes=[0, 1], **named)]
    return commits.OffsetFetchRequest(
        groups=[commits.OffsetFetchRequestGroup(group_id="g", topics=None if everything else topics)]
    )


def committed(client: WireClient, topic_id: bytes, version: int, *, everything: bool = False) -> dict[int, int]:
    request = fetch_request(topic_id, version, everything=everything)

    def code(answer: Any) -> int:
        if version < 2:
            return max((one.error_code for topic in answer.topics for one in topic.partitions), default=0)
        return int(answer.error_code if version < 8 else answer.groups[0].error_code)

    answer = when_loaded(lambda: client.ask(request, version), code)
    topics = answer.topics if version < 8 else answer.groups[0].topics
    return {one.partition_index: one.committed_offset for topic in topics for one in topic.partitions}


@pytest.mark.parametrize("version", range(2, 11))
def test_commit_and_fetch(client: WireClient, orders: bytes, version: int) -> None:
    def code(answer: Any) -> int:
        return max((one.error_code for topic in answer.topics for one in topic.partitions if one.error_code == 14),
                   default=0)  # fmt: skip

    answer = when_loaded(lambda: client.ask(commit_request(orders, version, 42), version), code)
    codes = [[one.error_code for one in topic.partitions] for topic in answer.topics]
    assert codes == [[100 if version >= 10 else 3], [0, 3]]
    for fetch_version in range(1, 11):
        assert committed(client, orders, fetch_version) == {0: 42, 1: -1}
        if fetch_version >= 2:
            assert committed(client, orders, fetch_version, everything=True) == {0: 42}


def test_commits_survive_a_restart(cluster: Cluster, client: WireClient, orders: bytes) -> None:
    for offset in (3, 5):
        client.ask(commit_request(orders, 9, offset), 9)
    client.ask(commit_request(orders, 9, 7), 9)
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        assert committed(again, orders, 9) == {0: 7, 1: -1}
    cluster.stop()
    with kstore.open(cluster.directory) as store:
        assert store.groups.committed("g")["orders", 0].offset == 7, "the library reads the same records"


def test_what_the_library_committed_is_served(cluster: Cluster, client: WireClient, orders: bytes) -> None:
    cluster.stop()
    with kstore.open(cluster.directory) as store:
        store.groups.commit("g", {("orders", 0): 11})
    cluster.start()
    with WireClient(cluster.bootstrap) as again:
        assert committed(again, orders, 9)[0] == 11


def test_compaction_keeps_what_counts(cluster: Cluster, client: WireClient, orders: bytes) -> None:
    for offset in range(200):
        client.ask(commit_request(orders, 9, offset), 9)
    (partition,) = cluster.broker.coordination._partitions
    log = cluster.broker.partition(offsets.TOPIC, 0)
    before = sum(segment.size_bytes for segment in log.segments)
    cluster.broker.loop.call_soon_threadsafe(partition.compact)
    while sum(segment.size_bytes for segment in log.segments) > before / 10:
        committed(client, orders, 9)
    assert log.log_start_offset == 200
    assert committed(client, orders, 9)[0] == 199
    client.ask(commit_request(orders, 9, 500), 9)
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        assert committed(again, orders, 9)[0] == 500


def test_deleting_offsets_and_groups(client: WireClient, orders: bytes) -> None:
    client.ask(commit_request(orders, 9, 42), 9)
    partitions = [commits.OffsetDeleteRequestPartition(partition_index=index) for index in (0,)]
    topics = [
        commits.OffsetDeleteRequestTopic(name="orders", partitions=partitions),
        commits.OffsetDeleteRequestTopic(name="absent", partitions=partitions),
    ]
    answer = client.ask(commits.OffsetDeleteRequest(group_id="g", topics=topics), 0)
    assert answer.error_code == 0
    assert [topic.partitions[0].error_code for topic in answer.topics] == [0, 3]
    assert committed(client, orders, 9) == {0: -1, 1: -1}
    client.ask(commit_request(orders, 9, 42), 9)
    results = client.ask(group_admin.DeleteGroupsRequest(groups_names=["g", "absent"]), 2).results
    assert [(one.group_id, one.error_code) for one in results] == [("g", 0), ("absent", 69)]
    assert committed(client, orders, 9) == {0: -1, 1: -1}


@pytest.mark.parametrize("version", [0, 1])
def test_a_consumer_group(client: WireClient, orders: bytes, version: int) -> None:
    def beat(**options: Any) -> Any:
        fields = {"group_id": "new", "member_id": "m" if version else "", "member_epoch": 0, **options}
        request = consumer_groups.ConsumerGroupHeartbeatRequest(**fields)
        return when_loaded(lambda: client.ask(request, version), lambda answer: answer.error_code)

    joined = beat(subscribed_topic_names=["orders"], topic_partitions=[], rebalance_timeout_ms=10_000)
    assert joined.error_code == 0, joined
    assigned = [(bytes(one.topic_id), list(one.partitions)) for one in joined.assignment.topic_partitions]
    assert assigned == [(orders, [0])]
    request = consumer_groups.ConsumerGroupDescribeRequest(group_ids=["new"], include_authorized_operations=True)
    (group,) = client.ask(request, version).groups
    assert (group.group_state, group.members[0].member_id) == ("Stable", joined.member_id)
    left = beat(member_id=joined.member_id, member_epoch=-1)
    assert left.error_code == 0


def test_a_waiting_join_is_sent_on_at_the_stop(cluster: Cluster, client: WireClient) -> None:
    first = join(client, 3)
    client.ask(
        groups.SyncGroupRequest(
            group_id="g",
            generation_id=1,
            member_id=first.member_id,
            assignments=[groups.SyncGroupRequestAssignment(member_id=first.member_id, assignment=b"")],
        ),
        3,
    )
    with WireClient(cluster.bootstrap) as second:
        second.post(
            groups.JoinGroupRequest(
                group_id="g",
                session_timeout_ms=10_000,
                rebalance_timeout_ms=600_000,
                member_id="",
                protocol_type="consumer",
                protocols=[groups.JoinGroupRequestProtocol(name="range", metadata=b"")],
            ),
            3,
        )
        beat = groups.HeartbeatRequest(group_id="g", generation_id=1, member_id=first.member_id)
        while client.ask(beat, 3).error_code != 27:
            continue
        cluster.stop()
        assert second.receive(11, 3).error_code == 16
