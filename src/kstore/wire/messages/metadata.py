"""Who leads what, and where the brokers are.

Owns the field tables of Metadata, DescribeCluster and DescribeTopicPartitions; must not know what anyone does with
them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    NO_ID,
    NO_OPERATIONS,
    Array,
    Bool,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)


class MetadataRequestTopic(Struct):
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    name: String | None = field(nullable=10)


class MetadataRequest(Request, api=3):
    """Asks for topics by name or id; null asks for all."""

    topics: Array[MetadataRequestTopic] | None = field(nullable=1)
    allow_auto_topic_creation: Bool = field(4, default=True)
    include_cluster_authorized_operations: Bool = field(8, 10, default=False)
    include_topic_authorized_operations: Bool = field(8, default=False)


class MetadataResponseBroker(Struct):
    node_id: Int32
    host: String
    port: Int32
    rack: String | None = field(1, default=None, ignorable=True)


class MetadataResponsePartition(Struct):
    error_code: Int16
    partition_index: Int32
    leader_id: Int32
    leader_epoch: Int32 = field(7, default=-1, ignorable=True)
    replica_nodes: Array[Int32]
    isr_nodes: Array[Int32]
    offline_replicas: Array[Int32] = field(5, default=(), ignorable=True)


class MetadataResponseTopic(Struct):
    error_code: Int16
    name: String | None = field(nullable=12)
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    is_internal: Bool = field(1, default=False, ignorable=True)
    partitions: Array[MetadataResponsePartition]
    topic_authorized_operations: Int32 = field(8, default=NO_OPERATIONS)


class MetadataResponse(Response, api=3):
    """Brokers, and the leader and replicas of every partition asked for."""

    throttle_time_ms: Int32 = field(3, default=0, ignorable=True)
    brokers: Array[MetadataResponseBroker]
    cluster_id: String | None = field(2, default=None, ignorable=True)
    controller_id: Int32 = field(1, default=-1, ignorable=True)
    topics: Array[MetadataResponseTopic]
    cluster_authorized_operations: Int32 = field(8, 10, default=NO_OPERATIONS)
    error_code: Int16 = field(13, default=0, ignorable=True)


class DescribeClusterRequest(Request, api=60):
    """Asks for the brokers, or the controllers, of the cluster (KIP-700)."""

    include_cluster_authorized_operations: Bool
    endpoint_type: Int8 = field(1, default=1)
    include_fenced_brokers: Bool = field(2, default=False)


class DescribeClusterBroker(Struct):
    broker_id: Int32
    host: String
    port: Int32
    rack: String | None = field(default=None)
    is_fenced: Bool = field(2, default=False)


class DescribeClusterResponse(Response, api=60):
    """Brokers with their addresses."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None = field(default=None)
    endpoint_type: Int8 = field(1, default=1)
    cluster_id: String
    controller_id: Int32 = field(default=-1)
    brokers: Array[DescribeClusterBroker]
    cluster_authorized_operations: Int32 = field(default=NO_OPERATIONS)


class TopicRequest(Struct):
    name: String


class DescribeTopicPartitionsRequestCursor(Struct):
    topic_name: String
    partition_index: Int32


class DescribeTopicPartitionsRequest(Request, api=75):
    """Asks for partitions page by page (KIP-966)."""

    topics: Array[TopicRequest]
    response_partition_limit: Int32 = field(default=2000)
    cursor: DescribeTopicPartitionsRequestCursor | None = field(default=None)


class DescribeTopicPartitionsResponsePartition(Struct):
    error_code: Int16
    partition_index: Int32
    leader_id: Int32
    leader_epoch: Int32 = field(default=-1)
    replica_nodes: Array[Int32]
    isr_nodes: Array[Int32]
    eligible_leader_replicas: Array[Int32] | None = field(default=None)
    last_known_elr: Array[Int32] | None = field(default=None)
    offline_replicas: Array[Int32]


class DescribeTopicPartitionsResponseTopic(Struct):
    error_code: Int16
    name: String | None
    topic_id: Uuid
    is_internal: Bool = field(default=False)
    partitions: Array[DescribeTopicPartitionsResponsePartition]
    topic_authorized_operations: Int32 = field(default=NO_OPERATIONS)


class DescribeTopicPartitionsResponseCursor(Struct):
    topic_name: String
    partition_index: Int32


class DescribeTopicPartitionsResponse(Response, api=75):
    """Partitions, and where the next page starts."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[DescribeTopicPartitionsResponseTopic]
    next_cursor: DescribeTopicPartitionsResponseCursor | None = field(default=None)
