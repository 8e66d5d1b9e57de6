"""The cluster as admin clients look at it, and what they may ask of its leaders.

Owns the handlers of DescribeCluster, DescribeTopicPartitions, ElectLeaders and ListPartitionReassignments. Must not
know logs. Called by `dispatch`; everything is read from the picture of the cluster, at once.

Invariants
1. An answer is of one moment of the cluster.
2. A page of partitions holds what was asked for at most, and its cursor names the first partition that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kstore.broker import operations
from kstore.log import names
from kstore.wire.messages.metadata import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)
from kstore.wire.messages.replicas import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from kstore.wire.schema import NO_OPERATIONS

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import Metadata, TopicInfo

UNKNOWN_TOPIC = 3
LEADER_NOT_AVAILABLE = 5
INVALID_TOPIC = 17
INVALID_REQUEST = 42
PREFERRED_LEADER_NOT_AVAILABLE = 80
ELIGIBLE_LEADERS_NOT_AVAILABLE = 83
ELECTION_NOT_NEEDED = 84
MISMATCHED_ENDPOINT_TYPE = 114
UNSUPPORTED_ENDPOINT_TYPE = 115
BROKERS, CONTROLLERS = 1, 2
PREFERRED, UNCLEAN = 0, 1
PAGE_PARTITIONS_MAX = 2000
"""Partitions of one page; Kafka's max.request.partition.size.limit."""
NO_LEADER = -1


def describe_cluster(broker: Broker, call: Call) -> None:
    """The brokers and their addresses."""
    request: DescribeClusterRequest = call.body
    picture = broker.cluster.metadata
    if request.endpoint_type != BROKERS:
        known = request.endpoint_type == CONTROLLERS
        call.answer(
            DescribeClusterResponse(
                error_code=MISMATCHED_ENDPOINT_TYPE if known else UNSUPPORTED_ENDPOINT_TYPE,
                error_message="The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type "
                "CONTROLLER"
                if known
                else f"Unsupported endpoint type {request.endpoint_type}",
                cluster_id=picture.cluster_id,
                brokers=[],
            )
        )
        return
    own = broker.node_for(call)
    brokers = [
        DescribeClusterBroker(broker_id=one.node_id, host=one.host, port=one.port, rack=one.rack)
        for one in (own if node.node_id == own.node_id else node for node in picture.nodes)
    ]
    call.answer(
        DescribeClusterResponse(
            error_code=0,
            cluster_id=picture.cluster_id,
            controller_id=picture.controller_id,
            brokers=brokers,
            cluster_authorized_operations=operations.CLUSTER
            if request.include_cluster_authorized_operations
            else NO_OPERATIONS,
        )
    )


# -- partitions, page by page ----------------------------------------------------------------------------


def describe_topic_partitions(broker: Broker, call: Call) -> None:
    """Partitions from the cursor on (KIP-966; DescribeTopicPartitionsRequestHandler)."""
    request: DescribeTopicPartitionsRequest = call.body
    picture = broker.cluster.metadata
    cursor = request.cursor
    if cursor is not None and cursor.partition_index < 0:
        call.connection.close("a cursor of DescribeTopicPartitions is below partition 0")
        return
    first_topic = "" if cursor is None else cursor.topic_name
    asked = {topic.name for topic in request.topics}
    wanted = sorted(name for name in asked or picture.topics if name >= first_topic)
    left = max(min(PAGE_PARTITIONS_MAX, request.response_partition_limit), 1)
    found: list[DescribeTopicPartitionsResponseTopic] = []
    following: DescribeTopicPartitionsResponseCursor | None = None
    for name in wanted:
        if left == 0:
            following = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=0)
            break
        topic = picture.topics.get(name)
        if topic is None:
            found.append(_absent(name))
            continue
        begin = cursor.partition_index if cursor is not None and name == first_topic else 0
        end = min(begin + left, len(topic.partitions))
        found.append(_page(broker, topic, range(begin, end)))
        if end < len(topic.partitions):
            following = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=end)
            break
        left -= max(end - begin, 0)
    call.answer(DescribeTopicPartitionsResponse(topics=found, next_cursor=following))


def _absent(name: str) -> DescribeTopicPartitionsResponseTopic:
    code = UNKNOWN_TOPIC if names.is_valid_topic_name(name) else INVALID_TOPIC
    return DescribeTopicPartitionsResponseTopic(
        error_code=code, name=name, topic_id=names.ZERO_UUID, is_internal=names.is_internal_topic(name), partitions=[]
    )


def _page(broker: Broker, topic: TopicInfo, indexes: Iterable[int]) -> DescribeTopicPartitionsResponseTopic:
    partitions = []
    for index in indexes:
        one = topic.partitions[index]
        has_leader = one.leader_id != NO_LEADER
        partitions.append(
            DescribeTopicPartitionsResponsePartition(
                error_code=0 if has_leader else LEADER_NOT_AVAILABLE,
                partition_index=index,
                leader_id=one.leader_id,
                leader_epoch=broker.leader_epoch(topic.name, index, opening=False) if has_leader else -1,
                replica_nodes=one.replicas,
                isr_nodes=one.isr,
                eligible_leader_replicas=[],
                last_known_elr=[],
                offline_replicas=one.offline,
            )
        )
    return DescribeTopicPartitionsResponseTopic(
        error_code=0,
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.is_internal,
        partitions=partitions,
        topic_authorized_operations=operations.TOPIC,
    )


# -- leaders ---------------------------------------------------------------------------------------------


def elect_leaders(broker: Broker, call: Call) -> None:
    """Nobody else can lead: a partition has its leader already, or none can be had (KIP-460).

    Asked for all partitions Kafka leaves those out whose leader stays (ReplicationControlManager.electLeaders).
    """
    request: ElectLeadersRequest = call.body
    if request.election_type not in (PREFERRED, UNCLEAN):
        call.answer(ElectLeadersResponse(error_code=INVALID_REQUEST if call.version else 0,
                                         replica_election_results=[]))  # fmt: skip
        return
    picture = broker.cluster.metadata
    asks_all = request.topic_partitions is None
    if request.topic_partitions is None:
        asked = [(name, list(range(len(topic.partitions)))) for name, topic in sorted(picture.topics.items())]
    else:
        asked = [(one.topic, list(one.partitions)) for one in request.topic_partitions]
    results = []
    for name, indexes in asked:
        rows = [(index, *_election(picture, name, index, request.election_type)) for index in indexes]
        results.append(
            ReplicaElectionResult(
                topic=name,
                partition_result=[
                    PartitionResult(partition_id=index, error_code=code, error_message=message)
                    for index, code, message in rows
                    if not (asks_all and code == ELECTION_NOT_NEEDED)
                ],
            )
        )
    call.answer(ElectLeadersResponse(replica_election_results=results))


def _election(picture: Metadata, name: str, index: int, kind: int) -> tuple[int, str]:
    topic = picture.topics.get(name)
    if topic is None:
        return UNKNOWN_TOPIC, f"No such topic as {name}"
    if not 0 <= index < len(topic.partitions):
        return UNKNOWN_TOPIC, f"No such partition as {name}-{index}"
    if topic.partitions[index].leader_id != NO_LEADER:
        return ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."
    if kind == PREFERRED:
        return PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader was not available."
    return ELIGIBLE_LEADERS_NOT_AVAILABLE, "Eligible topic partition leaders are not available."


def list_partition_reassignments(broker: Broker, call: Call) -> None:
    """Nothing moves in a cluster of one broker."""
    call.answer(ListPartitionReassignmentsResponse(error_code=0, error_message=None, topics=[]))
