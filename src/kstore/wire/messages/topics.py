"""Making and removing topics and partitions.

Owns the field tables of CreateTopics, DeleteTopics and CreatePartitions; must not know what anyone does with them.
Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import NO_ID, Array, Bool, Int8, Int16, Int32, Request, Response, String, Struct, Uuid, field


class CreatableReplicaAssignment(Struct):
    partition_index: Int32
    broker_ids: Array[Int32]


class CreatableTopicConfig(Struct):
    name: String
    value: String | None


class CreatableTopic(Struct):
    name: String
    num_partitions: Int32
    replication_factor: Int16
    assignments: Array[CreatableReplicaAssignment]
    configs: Array[CreatableTopicConfig]


class CreateTopicsRequest(Request, api=19):
    """Makes topics."""

    topics: Array[CreatableTopic]
    timeout_ms: Int32 = field(default=60000)
    validate_only: Bool = field(default=False)


class CreatableTopicConfigs(Struct):
    name: String
    value: String | None
    read_only: Bool
    config_source: Int8 = field(default=-1)
    is_sensitive: Bool


class CreatableTopicResult(Struct):
    name: String
    topic_id: Uuid = field(7, default=NO_ID, ignorable=True)
    error_code: Int16
    error_message: String | None
    topic_config_error_code: Int16 = field(5, tag=0, default=0, ignorable=True)
    num_partitions: Int32 = field(5, default=-1, ignorable=True)
    replication_factor: Int16 = field(5, default=-1, ignorable=True)
    configs: Array[CreatableTopicConfigs] | None = field(5, default=(), ignorable=True)


class CreateTopicsResponse(Response, api=19):
    """An error code, and since version 5 what was made (KIP-525)."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[CreatableTopicResult]


class DeleteTopicState(Struct):
    name: String | None = field(default=None)
    topic_id: Uuid


class DeleteTopicsRequest(Request, api=20):
    """Removes topics by name, or since version 6 by id."""

    topics: Array[DeleteTopicState] = field(6, default=())
    topic_names: Array[String] = field(1, 5, default=(), ignorable=True)
    timeout_ms: Int32


class DeletableTopicResult(Struct):
    name: String | None = field(nullable=6)
    topic_id: Uuid = field(6, default=NO_ID, ignorable=True)
    error_code: Int16
    error_message: String | None = field(5, default=None, ignorable=True)


class DeleteTopicsResponse(Response, api=20):
    """An error code for each topic."""

    throttle_time_ms: Int32 = field(default=0)
    responses: Array[DeletableTopicResult]


class CreatePartitionsAssignment(Struct):
    broker_ids: Array[Int32]


class CreatePartitionsTopic(Struct):
    name: String
    count: Int32
    assignments: Array[CreatePartitionsAssignment] | None


class CreatePartitionsRequest(Request, api=37):
    """Gives topics more partitions."""

    topics: Array[CreatePartitionsTopic]
    timeout_ms: Int32
    validate_only: Bool


class CreatePartitionsTopicResult(Struct):
    name: String
    error_code: Int16
    error_message: String | None = field(default=None)


class CreatePartitionsResponse(Response, api=37):
    """An error code for each topic."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[CreatePartitionsTopicResult]
