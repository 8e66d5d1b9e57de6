"""The controllers' quorum, and the features of the cluster.

Owns the field tables of DescribeQuorum and UpdateFeatures; must not know what anyone does with them. Compiled by
`kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    NO_ID,
    Array,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    UInt16,
    Uuid,
    field,
)


class DescribeQuorumRequestPartitionData(Struct):
    partition_index: Int32


class DescribeQuorumRequestTopicData(Struct):
    topic_name: String
    partitions: Array[DescribeQuorumRequestPartitionData]


class DescribeQuorumRequest(Request, api=55):
    """Asks for the state of the metadata quorum (KIP-595)."""

    topics: Array[DescribeQuorumRequestTopicData]


class ReplicaState(Struct):
    replica_id: Int32
    replica_directory_id: Uuid = field(2, default=NO_ID)
    log_end_offset: Int64
    last_fetch_timestamp: Int64 = field(1, default=-1, ignorable=True)
    last_caught_up_timestamp: Int64 = field(1, default=-1, ignorable=True)


class DescribeQuorumResponsePartitionData(Struct):
    partition_index: Int32
    error_code: Int16
    error_message: String | None = field(2, default="", ignorable=True)
    leader_id: Int32
    leader_epoch: Int32
    high_watermark: Int64
    current_voters: Array[ReplicaState]
    observers: Array[ReplicaState]


class DescribeQuorumResponseTopicData(Struct):
    topic_name: String
    partitions: Array[DescribeQuorumResponsePartitionData]


class Listener(Struct):
    name: String
    host: String
    port: UInt16


class Node(Struct):
    node_id: Int32
    listeners: Array[Listener]


class DescribeQuorumResponse(Response, api=55):
    """The leader, and how far voters and observers are."""

    error_code: Int16
    error_message: String | None = field(2, default="", ignorable=True)
    topics: Array[DescribeQuorumResponseTopicData]
    nodes: Array[Node] = field(2, default=())


class FeatureUpdateKey(Struct):
    feature: String
    max_version_level: Int16
    allow_downgrade: Bool = field(0, 0, default=False)
    upgrade_type: Int8 = field(1, default=1)


class UpdateFeaturesRequest(Request, api=57):
    """Sets the levels of features (KIP-584)."""

    timeout_ms: Int32 = field(default=60000)
    feature_updates: Array[FeatureUpdateKey]
    validate_only: Bool = field(1, default=False)


class UpdatableFeatureResult(Struct):
    feature: String
    error_code: Int16
    error_message: String | None


class UpdateFeaturesResponse(Response, api=57):
    """An error code, and before version 2 one for each feature."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None
    results: Array[UpdatableFeatureResult] = field(0, 1, default=(), ignorable=True)
